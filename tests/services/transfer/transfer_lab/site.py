"""The real catalog, store, transfer service and worker in one process, on one real directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.eventually import eventually

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import ISSUERS, Caller, Role, Signer
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.server import Runtime, serving
from svckit.settings import Settings, settings_from
from transfer_lab.rig import FINAL, claim_for, new_id, site_values, spec_for
from transfer_lab.store import Content

OLGA = Caller("olga", Role.OPERATOR, token_id="token-olga")


@dataclass
class Site:
    root: Path
    settings: Settings
    channels: ServiceChannels

    @property
    def directory(self) -> Path:
        return self.root.parent

    async def begin(self, wanted: Mapping[str, Content]) -> tuple[list[str], list[store_pb2.UploadGrant]]:
        response = await self.channels.transfer.BeginIngests(
            pb.BeginIngestsRequest(
                request_id=new_id(), items=[spec_for(name, content) for name, content in wanted.items()]
            )
        )
        assert all(verdict.HasField("open") for verdict in response.verdicts), response.verdicts
        return [verdict.open.ingest_id for verdict in response.verdicts], list(response.grants)

    async def commit(self, claims: Mapping[str, Content]) -> None:
        await self.channels.transfer.CommitIngests(
            pb.CommitIngestsRequest(
                request_id=new_id(), items=[claim_for(uid, content) for uid, content in claims.items()]
            )
        )

    async def wait(self, uids: list[str]) -> list[pb.Ingest]:
        done: dict[str, pb.Ingest] = {}

        async def look() -> bool:
            left = [uid for uid in uids if uid not in done]
            request = pb.WaitIngestsRequest(ingest_ids=left, timeout_ms=5000)
            for verdict in (await self.channels.transfer.WaitIngests(request)).verdicts:
                if verdict.ingest.state in FINAL:
                    done[verdict.ingest.ingest_id] = verdict.ingest
            return len(done) == len(uids)

        await eventually(look)
        return [done[uid] for uid in uids]

    async def dataset(self, name: str) -> catalog_pb2.Dataset:
        request = catalog_pb2.GetDatasetRequest(name=name)
        return (await self.channels.catalog.GetDataset(request)).dataset

    async def reserved_bytes(self) -> int:
        response = await self.channels.store("disks").ListStores(store_pb2.ListStoresRequest())
        return response.stores[0].usage.reserved_bytes

    async def replica_state(self, name: str) -> str:
        (replica,) = (await self.dataset(name)).replicas
        return common_pb2.ReplicaState.Name(replica.state).removeprefix("REPLICA_STATE_")


@asynccontextmanager
async def open_site(directory: Path, dsn: str, *, workers: int = 1) -> AsyncIterator[Site]:
    """With one store, `fast`, at <directory>/fast."""
    from catalog_svc.__main__ import build as build_catalog
    from store_svc.app import build as build_store
    from transfer_svc.app import build, build_worker

    ensure_keys(directory, (*ISSUERS, "site"))
    values = site_values(
        directory,
        dsn,
        ["disks"],
        catalog={"dsn": dsn},
        store={"listen": f"unix:{directory}/disks.sock", "dsn": dsn},
    )
    settings = settings_from(values)
    root = directory / "fast"
    root.mkdir()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(Runtime("catalog", settings), build_catalog))
        await stack.enter_async_context(serving(Runtime("store", settings), build_store))
        await stack.enter_async_context(serving(Runtime("transfer", settings), build))
        for _ in range(workers):
            await stack.enter_async_context(serving(Runtime("worker", settings), build_worker))
        signer = Signer.load(directory, "gateway")
        channels = await stack.enter_async_context(ServiceChannels(settings, signer, caller=OLGA))
        await channels.store("disks").AddStore(
            store_pb2.AddStoreRequest(
                request_id=new_id(),
                store=store_pb2.Store(
                    name="fast",
                    root=str(root),
                    store_class=store_pb2.STORE_CLASS_ONLINE,
                    failure_domain="this-machine",
                    enabled=True,
                    ingestible=True,
                ),
            )
        )
        yield Site(root, settings, channels)
