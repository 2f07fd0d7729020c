"""A transfer service and its workers in this process, between a client's stub and the stand-ins."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from support.eventually import eventually

from librarian.api.catalog.v1.catalog_pb2_grpc import add_CatalogServiceServicer_to_server
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1.store_pb2_grpc import add_StoreServiceServicer_to_server
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.messages import checksum_to_proto, error_of
from svckit.auth import ISSUERS, Caller, Role, Signer
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.server import Build, Runtime, ServicerRegistration, serving
from svckit.settings import Settings, settings_from
from transfer_lab.catalog import FakeCatalog
from transfer_lab.store import Content, FakeStores, Space
from transfer_svc.app import build, build_worker

if TYPE_CHECKING:
    from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceAsyncStub

ALICE = Caller("alice", Role.INGESTER, token_id="token-alice")
FINAL = {
    pb.INGEST_STATE_PUBLISHED,
    pb.INGEST_STATE_ABORTED,
    pb.INGEST_STATE_EXPIRED,
    pb.INGEST_STATE_FAILED,
}


def new_id() -> str:
    return str(uuid.uuid4())


def site_values(directory: Path, dsn: str, services: Sequence[str], **sections: Any) -> dict[str, Any]:
    """Settings of a site whose catalog and stores are stand-ins."""
    values: dict[str, Any] = {
        "site": {"name": "lab"},
        "auth": {"keys_dir": str(directory), "site_key_file": str(directory / "site.key")},
        "catalog": {"listen": f"unix:{directory}/catalog.sock"},
        "transfer": {"listen": f"unix:{directory}/transfer.sock", "dsn": dsn},
        "worker": {"lease_seconds": 2.0, "poll_seconds": 2.0},
        "services": {
            "catalog": f"unix:{directory}/catalog.sock",
            "transfer": f"unix:{directory}/transfer.sock",
            "stores": {name: f"unix:{directory}/{name}.sock" for name in services},
        },
        "server": {"drain_seconds": 0.0, "grace_seconds": 3.0},
        "telemetry": {"log_level": "error"},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return values


@dataclass
class Rig:
    """`stores` by store service. A client's conveniences are below."""

    directory: Path
    dsn: str
    settings: Settings
    catalog: FakeCatalog
    services: dict[str, FakeStores]

    @property
    def stores(self) -> FakeStores:
        """Of a site with one store service."""
        (only,) = self.services.values()
        return only

    def transfer(self, **inputs: Any) -> AbstractAsyncContextManager[Runtime]:
        return serving(Runtime("transfer", self.settings, **inputs), build)

    def worker(self, **inputs: Any) -> AbstractAsyncContextManager[Runtime]:
        return serving(Runtime("worker", self.settings, **inputs), build_worker)

    @asynccontextmanager
    async def client(self, caller: Caller = ALICE) -> AsyncIterator[Client]:
        signer = Signer.load(self.directory, "gateway")
        async with ServiceChannels(self.settings, signer, caller=caller) as channels:
            yield Client(self, channels.transfer)

    @asynccontextmanager
    async def running(self, caller: Caller = ALICE) -> AsyncIterator[Client]:
        """The service and one worker, and a client of theirs."""
        async with self.transfer(), self.worker(), self.client(caller) as client:
            yield client

    async def rows(self, what: str = "*", where: str = "true") -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.dsn)
        try:
            found = await connection.fetch(f"SELECT {what} FROM transfer.ingests WHERE {where}")
            return [dict(row) for row in found]
        finally:
            await connection.close()

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def all_settled(self) -> None:
        async def settled() -> bool:
            return not await self.rows("1", "NOT settled")

        await eventually(settled, what="all ingests settled")


@dataclass
class Client:
    rig: Rig
    stub: TransferServiceAsyncStub

    async def begin(self, *specs: pb.IngestSpec, **fields: Any) -> pb.BeginIngestsResponse:
        fields.setdefault("request_id", new_id())
        return await self.stub.BeginIngests(pb.BeginIngestsRequest(items=specs, **fields))

    async def open(self, name: str, content: Content, **fields: Any) -> str:
        """Begins one ingest; the id. Raises the item's error."""
        response = await self.begin(spec_for(name, content, **fields))
        verdict = response.verdicts[0]
        if verdict.HasField("error"):
            raise error_of(verdict.error)
        assert verdict.HasField("open"), verdict
        return verdict.open.ingest_id

    async def bring(self, name: str, content: Content, **fields: Any) -> str:
        uid = await self.open(name, content, **fields)
        self.stores_of(uid).bring(uid, content)
        return uid

    async def commit(self, *claims: tuple[str, Content]) -> list[pb.IngestVerdict]:
        response = await self.stub.CommitIngests(
            pb.CommitIngestsRequest(
                request_id=new_id(), items=[claim_for(uid, content) for uid, content in claims]
            )
        )
        return list(response.verdicts)

    async def wait(self, *uids: str, seconds: float = 60.0) -> list[pb.Ingest]:
        """Until all are final."""
        done: dict[str, pb.Ingest] = {}

        async def look() -> bool:
            left = [uid for uid in uids if uid not in done]
            response = await self.stub.WaitIngests(pb.WaitIngestsRequest(ingest_ids=left, timeout_ms=2000))
            for verdict in response.verdicts:
                assert verdict.HasField("ingest"), verdict
                if verdict.ingest.state in FINAL:
                    done[verdict.ingest.ingest_id] = verdict.ingest
            return len(done) == len(set(uids))

        await eventually(look, timeout=seconds, what="ingests are final")
        return [done[uid] for uid in uids]

    async def put(self, name: str, content: Content, **fields: Any) -> pb.Ingest:
        """The whole way of one dataset."""
        uid = await self.bring(name, content, **fields)
        await self.commit((uid, content))
        return (await self.wait(uid))[0]

    async def get(self, uid: str) -> pb.Ingest:
        return (await self.stub.GetIngest(pb.GetIngestRequest(ingest_id=uid))).ingest

    def stores_of(self, uid: str) -> FakeStores:
        return next(service for service in self.rig.services.values() if uid in service.uploads)


def spec_for(name: str, content: Content, **fields: Any) -> pb.IngestSpec:
    kind = common_pb2.DATASET_KIND_DIRECTORY if content.members else common_pb2.DATASET_KIND_FILE
    fields.setdefault("size_bytes", content.size_bytes)
    return pb.IngestSpec(name=name, kind=kind, algorithm=content.digest.algorithm, **fields)


def claim_for(uid: str, content: Content) -> pb.CommitIngestItem:
    return pb.CommitIngestItem(
        ingest_id=uid,
        digest=checksum_to_proto(content.digest),
        size_bytes=content.size_bytes,
        member_count=content.member_count,
    )


@asynccontextmanager
async def open_rig(
    directory: Path, dsn: str, spaces: dict[str, list[Space]], **sections: Any
) -> AsyncIterator[Rig]:
    """Stand-ins on sockets; the transfer service and workers are the test's to start."""
    ensure_keys(directory, (*ISSUERS, "site"))
    settings = settings_from(site_values(directory, dsn, list(spaces), **sections))
    catalog = FakeCatalog()
    stores = {name: FakeStores(owned) for name, owned in spaces.items()}
    rig = Rig(directory, dsn, settings, catalog, stores)
    catalog_build = _build(
        "librarian.api.catalog.v1.CatalogService",
        lambda server: add_CatalogServiceServicer_to_server(catalog, server),
    )
    async with _chain(
        serving(Runtime("catalog", settings), catalog_build),
        *(_store_server(rig, name, service) for name, service in stores.items()),
    ):
        yield rig


def _store_server(rig: Rig, name: str, service: FakeStores) -> AbstractAsyncContextManager[Runtime]:
    sections = site_values(
        rig.directory, rig.dsn, [name], store={"listen": f"unix:{rig.directory}/{name}.sock"}
    )
    return serving(
        Runtime("store", settings_from(sections)),
        _build(
            "librarian.api.store.v1.StoreService",
            lambda server: add_StoreServiceServicer_to_server(service, server),
        ),
    )


def _build(service: str, add: Any) -> Build:
    @asynccontextmanager
    async def build_it(_runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        yield [ServicerRegistration((service,), add)]

    return build_it


@asynccontextmanager
async def _chain(*managers: AbstractAsyncContextManager[Any]) -> AsyncIterator[None]:
    if not managers:
        yield
        return
    async with managers[0], _chain(*managers[1:]):
        yield
