"""ScanStore: what the store finds on itself, and what the catalogue expects there. Touches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import NotFound, SourceChanged, SourceVanished, StoreNotFound
from svckit.auth import Caller
from transfer_svc.catalogue import Copy, all_copies
from transfer_svc.context import Context
from transfer_svc.replicas import ReplicaState
from transfer_svc.streaming import Tell, streamed

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

# Questions to the store under way at once.
_AT_ONCE: Final = 16
_GROUP: Final = 500
_NAMES: Final = 500


async def scan_store(
    context: Context, caller: Caller, store: str
) -> AsyncGenerator[pb.ScanStoreResponse, None]:
    """Findings as they come, `done` at the end. Raises StoreNotFound and what keeps it from answering."""
    scan = Scan(context, caller, store, await context.stores.service_of(store))
    async for told in streamed(scan.work, scan.progress):
        yield told


class Scan:
    """One call, from its start to its end."""

    def __init__(self, context: Context, caller: Caller, store: str, service: StoreServiceAsyncStub) -> None:
        self._context = context
        self._caller = caller
        self._store = store
        self._service = service
        self._scanned = 0

    def progress(self) -> pb.ScanStoreResponse:
        return pb.ScanStoreResponse(scanned_count=self._scanned)

    async def work(self, tell: Tell[pb.ScanStoreResponse]) -> None:
        request = store_pb2.ScanStoreRequest(store=self._store)
        async for answer in self._service.ScanStore(request):
            self._scanned = answer.scanned_count
            visible = [each for each in answer.findings if self._caller.may_see(each.path)]
            await self._tell(await self._explained(visible), tell)
        group: list[Copy] = []
        async for copy in all_copies(self._context, self._caller, self._store):
            # Known to be missing is no finding.
            if copy.state is not ReplicaState.MISSING:
                group.append(copy)
            if len(group) == _GROUP:
                await self._tell(await self._unknown_to_store(group), tell)
                group = []
        await self._tell(await self._unknown_to_store(group), tell)
        last = self.progress()
        last.done = True
        await tell(last)

    async def _tell(
        self, findings: Sequence[store_pb2.ScanFinding], tell: Tell[pb.ScanStoreResponse]
    ) -> None:
        told = self.progress()
        told.findings.extend(findings)
        await tell(told)

    async def _explained(self, findings: Sequence[store_pb2.ScanFinding]) -> list[store_pb2.ScanFinding]:
        """With what the catalogue knows of paths that the store does not hold."""
        dark = [each for each in findings if each.reason == "DARK"]
        for start in range(0, len(dark), _NAMES):
            part = dark[start : start + _NAMES]
            response = await self._context.catalog.BatchGetDatasets(
                catalog_pb2.BatchGetDatasetsRequest(names=[each.path for each in part])
            )
            known = {dataset.name: dataset for dataset in response.datasets}
            for finding in part:
                dataset = known.get(finding.path)
                if dataset is not None:
                    finding.uid = dataset.uid
                    where = ", ".join(sorted(replica.store for replica in dataset.replicas)) or "no store"
                    finding.detail = f"{finding.detail}; catalogued, on {where}".removeprefix("; ")
        return list(findings)

    async def _unknown_to_store(self, copies: Sequence[Copy]) -> list[store_pb2.ScanFinding]:
        """Those catalogued here of which the store holds no record."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def is_held(copy: Copy) -> bool:
            async with room:
                try:
                    await self._service.BeginRead(store_pb2.BeginReadRequest(store=self._store, uid=copy.uid))
                except StoreNotFound:
                    raise
                except NotFound:
                    return False
                except (SourceVanished, SourceChanged):
                    # The store has it on its books, and has told what is wrong with it.
                    return True
                return True

        held = await asyncio.gather(*(is_held(copy) for copy in copies))
        return [
            store_pb2.ScanFinding(
                reason="MISSING",
                path=copy.name,
                uid=copy.uid,
                detail="catalogued here, and the store has no record of it",
            )
            for copy, is_known in zip(copies, held, strict=True)
            if not is_known
        ]
