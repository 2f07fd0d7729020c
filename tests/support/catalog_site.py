"""A live catalog on a database, spoken to through a real channel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog_svc.__main__ import build
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from svckit.auth import Caller, Role, Signer, service_caller
from svckit.channels import ServiceChannels
from svckit.clock import Clock, ManualClock, SystemIds
from svckit.keys import ensure_private_key
from svckit.server import Runtime, serving
from svckit.settings import Settings, settings_from

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub

FILE, DIRECTORY = common_pb2.DATASET_KIND_FILE, common_pb2.DATASET_KIND_DIRECTORY
BIRTH_US = 1_718_574_200_000_000


@dataclass(eq=False)
class Made:
    """A dataset as a service would publish it."""

    name: str
    content: str = "bytes"
    uid: str = field(default_factory=lambda: SystemIds().new_uid())
    kind: int = FILE
    size: int = 10
    members: int = 1
    uploader: str = "packager"
    created_us: int = BIRTH_US
    tags: dict[str, str] = field(default_factory=dict)
    store: str = "main"
    site: str = "chile"

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.content.encode()).digest()

    @property
    def origin(self) -> common_pb2.Signed:
        return common_pb2.Signed(type="librarian.origin", key_id="key", payload=b"said", signature=b"signed")


@dataclass(frozen=True)
class Held:
    """A copy of `made` at another site, as that site's receipt tells."""

    made: Made
    site: str = "nersc"
    store: str = "cfs"
    verified_us: int = BIRTH_US
    domain: str = "nersc-cfs"

    def record(self, via: str = "") -> pb.ReceiptRecord:
        """The signature is for others to check."""
        receipt = common_pb2.Receipt(
            site=self.site,
            uid=self.made.uid,
            name=self.made.name,
            kind=common_pb2.DatasetKind.ValueType(self.made.kind),
            digest=common_pb2.Checksum(algorithm="sha256", value=self.made.digest),
            size_bytes=self.made.size,
            member_count=self.made.members,
            store=self.store,
            store_class="archive",
            failure_domain=self.domain,
            verify_time_us=self.verified_us,
            sign_time_us=self.verified_us,
        )
        signed = common_pb2.Signed(
            type="librarian.receipt", key_id="key", payload=receipt.SerializeToString(), signature=b"signed"
        )
        return pb.ReceiptRecord(receipt=signed, via_site=via)


def columns(made: Sequence[Made]) -> pb.DatasetColumns:
    return pb.DatasetColumns(
        uid=[each.uid for each in made],
        name=[each.name for each in made],
        kind=[common_pb2.DatasetKind.ValueType(each.kind) for each in made],
        digest_algorithm=["sha256" for _ in made],
        digest=[each.digest for each in made],
        size_bytes=[each.size for each in made],
        member_count=[each.members for each in made],
        uploader=[each.uploader for each in made],
        create_time_us=[each.created_us for each in made],
        tags_json=[json.dumps(each.tags) if each.tags else "" for each in made],
        origin=[each.origin.SerializeToString() for each in made],
        traceparent=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" for _ in made],
        site=[each.site for each in made],
    )


def member(path: str, size: int = 3) -> common_pb2.Member:
    checksum = common_pb2.Checksum(algorithm="sha256", value=hashlib.sha256(path.encode()).digest())
    return common_pb2.Member(
        path=path,
        kind=common_pb2.MEMBER_KIND_FILE,
        size_bytes=size,
        checksum=checksum,
        mode=0o644,
        mtime_ns=1_718_574_200_000_000_123,
    )


class Catalog:
    """One running catalog service. `stub` calls as the transfer service; `as_client` as a client."""

    def __init__(
        self, settings: Settings, clock: Clock, stack: AsyncExitStack, runtime: Runtime | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._stack = stack
        self._runtime = runtime
        self._keys = Path(settings.auth.keys_dir)
        self.stub: CatalogServiceAsyncStub

    @classmethod
    async def speaking_to(
        cls, settings: Settings, clock: Clock, stack: AsyncExitStack, runtime: Runtime | None = None
    ) -> Catalog:
        """The catalog that serves where the settings say; `runtime` where it is in this process."""
        catalog = cls(settings, clock, stack, runtime)
        catalog.stub = await catalog._stub("transfer", service_caller("transfer"))
        return catalog

    @property
    def runtime(self) -> Runtime:
        assert self._runtime is not None
        return self._runtime

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)

    async def as_client(self, *, prefix: str = "", role: Role = Role.READER) -> CatalogServiceAsyncStub:
        return await self._stub("gateway", Caller("ana", role, prefix, "token-1"))

    async def _stub(self, issuer: str, caller: Caller) -> CatalogServiceAsyncStub:
        signer = Signer.load(self._keys, issuer, clock=self.clock)
        channels = ServiceChannels(self.settings, signer, caller=caller)
        return (await self._stack.enter_async_context(channels)).catalog

    @staticmethod
    def new_id() -> str:
        return SystemIds().new_uid()

    async def publish(self, *made: Made, request_id: str = "") -> list[pb.PublishVerdict]:
        request = pb.PublishDatasetsRequest(
            request_id=request_id or self.new_id(),
            datasets=columns(made),
            stores=[each.store for each in made],
        )
        return list((await self.stub.PublishDatasets(request)).verdicts)

    async def register(
        self, *batches: Sequence[Made], store: str = "main", request_ids: Sequence[str] = ()
    ) -> list[pb.RegisterDatasetsResponse]:
        requests = [
            pb.RegisterDatasetsRequest(
                request_id=request_ids[index] if request_ids else self.new_id(),
                datasets=columns(batch),
                store=store,
            )
            for index, batch in enumerate(batches)
        ]
        return [response async for response in self.stub.RegisterDatasets(iter(requests))]

    async def add_members(self, uid: str, members: Sequence[common_pb2.Member]) -> int:
        request = pb.AddMembersRequest(uid=uid, members=members)
        return (await self.stub.AddMembers(iter([request]))).member_count

    async def update(self, *updates: pb.ReplicaUpdate) -> list[pb.ReplicaVerdict]:
        request = pb.UpdateReplicasRequest(request_id=self.new_id(), updates=updates)
        return list((await self.stub.UpdateReplicas(request)).verdicts)

    async def record(self, *records: pb.ReceiptRecord) -> pb.RecordReceiptsResponse:
        request = pb.RecordReceiptsRequest(request_id=self.new_id(), receipts=records)
        return await self.stub.RecordReceipts(request)

    async def get(self, name: str) -> pb.Dataset:
        return (await self.stub.GetDataset(pb.GetDatasetRequest(name=name))).dataset

    async def events(self, **fields: Any) -> list[pb.Event]:
        return list((await self.stub.ListEvents(pb.ListEventsRequest(page_size=1000, **fields))).events)


def settings_in(directory: Path, dsn: str) -> Settings:
    """Of a catalog that has its keys and its socket in this directory."""
    keys = directory / "keys"
    keys.mkdir(exist_ok=True)
    for issuer in ("gateway", "transfer", "worker"):
        ensure_private_key(keys / f"{issuer}.key")
    address = f"unix:{directory}/catalog.sock"
    return settings_from(
        {
            "catalog": {"listen": address, "dsn": dsn},
            "services": {"catalog": address},
            "auth": {"keys_dir": str(keys)},
            "server": {"drain_seconds": 0, "grace_seconds": 2},
            "database": {"pool_size": 12},
        }
    )


@asynccontextmanager
async def running(dsn: str, directory: Path) -> AsyncIterator[Catalog]:
    settings = settings_in(directory, dsn)
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    async with (
        serving(Runtime("catalog", settings, clock=clock), build) as runtime,
        AsyncExitStack() as stack,
    ):
        yield await Catalog.speaking_to(settings, clock, stack, runtime)
