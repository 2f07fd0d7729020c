"""The real transfer service and workers of a site that sends, between stand-ins for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from support.eventually import eventually

from librarian.api.catalog.v1.catalog_pb2_grpc import add_CatalogServiceServicer_to_server
from librarian.api.store.v1.store_pb2_grpc import add_StoreServiceServicer_to_server
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import ISSUERS, Caller, Role, Signer, service_caller
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.server import Build, Runtime, ServicerRegistration, serving
from svckit.settings import Settings, settings_from
from transfer_lab.carriers import Carrier
from transfer_lab.receivers import Receiver, receiving
from transfer_lab.rig import new_id, site_values
from transfer_lab.sendercatalog import SenderCatalog
from transfer_lab.store import FakeStores, Space
from transfer_svc.app import build, build_worker

if TYPE_CHECKING:
    from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceAsyncStub

OLGA = Caller("olga", Role.OPERATOR, token_id="token-olga")


@dataclass
class Sender:
    """`receivers` by name; `carrier` is the only mover, called "stream". `stub` speaks as an operator."""

    directory: Path
    dsn: str
    settings: Settings
    catalog: SenderCatalog
    stores: FakeStores
    carrier: Carrier
    receivers: dict[str, Receiver]
    stub: TransferServiceAsyncStub
    gateway: TransferServiceAsyncStub
    revision: int = field(default=0)
    # Of stores, as `processes.write_settings` asks for.
    services: Mapping[str, FakeStores] = field(default_factory=dict)

    def worker(self, **inputs: Any) -> AbstractAsyncContextManager[Runtime]:
        movers = {"stream": self.carrier}
        return serving(Runtime("worker", self.settings, **inputs), partial(build_worker, movers=movers))

    async def tell_peers(self, **fields: Any) -> None:
        """As the gateway does, of all receivers; `fields` of each."""
        self.revision += 1
        peers = [receiver.known(**fields.get(name, {})) for name, receiver in self.receivers.items()]
        await self.gateway.PutPeers(pb.PutPeersRequest(revision=self.revision, peers=peers))

    async def route(self, to: str = "there", *, backfill: bool = False, **fields: Any) -> pb.Route:
        fields.setdefault("via", "stream")
        request = pb.AddRouteRequest(
            request_id=new_id(), route=pb.Route(destination=to, **fields), backfill=backfill
        )
        return (await self.stub.AddRoute(request)).route

    async def transfers(self, **fields: Any) -> dict[str, pb.Transfer]:
        """The newest of each name."""
        found = (await self.stub.ListTransfers(pb.ListTransfersRequest(page_size=1000, **fields))).transfers
        return {transfer.name: transfer for transfer in reversed(found)}

    async def state(self, name: str) -> str:
        transfer = (await self.transfers()).get(name)
        if transfer is None:
            return ""
        return pb.TransferState.Name(transfer.state).removeprefix("TRANSFER_STATE_")

    async def reach(self, states: dict[str, str], *, timeout: float = 15.0) -> dict[str, pb.Transfer]:  # noqa: ASYNC109 - of a wait
        """Until each of these names is in that state."""

        async def there() -> bool:
            found = {
                name: pb.TransferState.Name(each.state).removeprefix("TRANSFER_STATE_")
                for name, each in (await self.transfers()).items()
            }
            assert {name: found.get(name) for name in states} == states
            return True

        await eventually(there, timeout=timeout, what=str(states)[:200])
        return await self.transfers()

    async def log(self, name: str) -> list[str]:
        transfer = (await self.transfers())[name]
        request = pb.GetTransferRequest(transfer_id=transfer.transfer_id)
        return [entry.event for entry in (await self.stub.GetTransfer(request)).log]

    async def explain(self, name: str, destination: str = "") -> pb.Explanation:
        request = pb.ExplainDatasetRequest(name=name, destination=destination)
        (explanation,) = (await self.stub.ExplainDataset(request)).explanations
        return explanation

    def brought(self) -> Counter[str]:
        """How often the bytes of each dataset were brought."""
        log = self.directory / "carried.log"
        names = {dataset.uid: dataset.name for dataset in self.catalog.live.values()}
        return Counter(names[uid] for uid in log.read_text().split()) if log.exists() else Counter()

    async def fetch(self, statement: str) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return [dict(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()


@asynccontextmanager
async def open_sender(
    directory: Path, dsn: str, *names: str, carrier: Carrier | None = None, **sections: Any
) -> AsyncIterator[Sender]:
    """With receivers of these names ("there"); workers are the test's to start."""
    ensure_keys(directory, (*ISSUERS, "site"))
    worker = {"lease_seconds": 1.0, "poll_seconds": 0.5, **sections.pop("worker", {})}
    settings = settings_from(site_values(directory, dsn, ["disks"], worker=worker, **sections))
    catalog = SenderCatalog()
    stores = FakeStores([Space("fast"), Space("slow")])
    async with AsyncExitStack() as stack:
        receivers = {}
        for name in names or ("there",):
            receiver = Receiver(name, directory / name)
            receivers[name] = await stack.enter_async_context(receiving(receiver))
        catalog_build = _build(
            "librarian.api.catalog.v1.CatalogService",
            lambda server: add_CatalogServiceServicer_to_server(catalog, server),
        )
        await stack.enter_async_context(serving(Runtime("catalog", settings), catalog_build))
        store_settings = settings_from(
            site_values(directory, dsn, ["disks"], store={"listen": f"unix:{directory}/disks.sock"})
        )
        store_build = _build(
            "librarian.api.store.v1.StoreService",
            lambda server: add_StoreServiceServicer_to_server(stores, server),
        )
        await stack.enter_async_context(serving(Runtime("store", store_settings), store_build))
        await stack.enter_async_context(serving(Runtime("transfer", settings), build))
        signer = Signer.load(directory, "gateway")
        people = await stack.enter_async_context(ServiceChannels(settings, signer, caller=OLGA))
        services = await stack.enter_async_context(
            ServiceChannels(settings, signer, caller=service_caller("gateway"))
        )
        sender = Sender(
            directory,
            dsn,
            settings,
            catalog,
            stores,
            carrier or Carrier(directory / "carried.log"),
            receivers,
            people.transfer,
            services.transfer,
            services={"disks": stores},
        )
        await sender.tell_peers()
        yield sender


def _build(service: str, add: Any) -> Build:
    @asynccontextmanager
    async def build_it(_runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        yield [ServicerRegistration((service,), add)]

    return build_it
