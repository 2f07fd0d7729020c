"""ScanStore: what the store finds on itself, and what the catalogue expects there. Touches nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import Caller
from transfer_svc.catalogue import Copy, all_copies
from transfer_svc.context import Context
from transfer_svc.replicas import ReplicaState
from transfer_svc.streaming import Tell, streamed

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

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
        async for findings in self._unknown_to_catalogue():
            await self._tell(findings, tell)
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
        if not copies:
            return []
        request = store_pb2.ListHeldRequest(store=self._store, uids=[copy.uid for copy in copies])
        held = {each.uid for each in (await self._service.ListHeld(request)).held}
        return [
            store_pb2.ScanFinding(
                reason="MISSING",
                path=copy.name,
                uid=copy.uid,
                detail="catalogued here, and the store has no record of it",
            )
            for copy in copies
            if copy.uid not in held
        ]

    async def _unknown_to_catalogue(self) -> AsyncIterator[list[store_pb2.ScanFinding]]:
        """Those the store holds and the catalogue has no copy of there. What is just being brought is left
        out: the catalogue hears of it in a moment.
        """
        token = ""
        while True:
            request = store_pb2.ListHeldRequest(store=self._store, page_size=_GROUP, page_token=token)
            page = await self._service.ListHeld(request)
            settled = [each for each in page.held if not each.unconfirmed]
            yield await self._uncatalogued([each for each in settled if self._caller.may_see(each.name)])
            token = page.next_page_token
            if not token:
                return

    async def _uncatalogued(self, held: Sequence[store_pb2.HeldDataset]) -> list[store_pb2.ScanFinding]:
        if not held:
            return []
        response = await self._context.catalog.BatchGetDatasets(
            catalog_pb2.BatchGetDatasetsRequest(uids=[each.uid for each in held])
        )
        places = {
            dataset.uid: {replica.store for replica in dataset.replicas} for dataset in response.datasets
        }
        return [
            store_pb2.ScanFinding(
                reason="UNCATALOGUED",
                path=each.name,
                uid=each.uid,
                detail="held, and catalogued without a copy here"
                if each.uid in places
                else "held, and not catalogued at all; `librarian register` catalogues it",
            )
            for each in held
            if self._store not in places.get(each.uid, ())
        ]
