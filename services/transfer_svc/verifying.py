"""VerifyReplicas: every byte is read again, and the catalogue is told what was found.

A first mismatch makes a copy SUSPECT, and that is recorded at once; then all of it is read again, and only
if that disagrees, too, is it CORRUPT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import InvalidInput, LibrarianError, NotFound, StoreNotFound
from librarian.messages import error_of, timestamp
from svckit.auth import Caller
from svckit.idempotency import check_request_id
from transfer_svc.catalogue import Copy, all_copies, copies_of, held_bytes
from transfer_svc.context import Context
from transfer_svc.replicas import Finding, ReplicaState, after_reading, reason_of
from transfer_svc.streaming import Tell, streamed

# Copies read at once: while one store is at the end of a file, another is begun.
_AT_ONCE: Final = 4
# What is recorded and told together: few enough that a reader sees something happen.
_GROUP_COUNT: Final = 50
_GROUP_BYTES: Final = 1 << 30


async def verify_replicas(
    context: Context, caller: Caller, request: pb.VerifyReplicasRequest
) -> AsyncGenerator[pb.VerifyReplicasResponse, None]:
    """A report for each copy, progress between, `done` at the end. Raises DatasetNotFound, StoreNotFound,
    InvalidInput; and what keeps a store from being read, after all that could be has been.
    """
    check_request_id(request.request_id)
    if request.WhichOneof("what") is None:
        raise InvalidInput("neither a dataset nor a store is named", remedy="set dataset_uid or store")
    verification = Verification(context, caller, request)
    async for told in streamed(verification.work, verification.progress):
        yield told


@dataclass(frozen=True, slots=True)
class _Read:
    """A copy, what the last re-read of it said, and what there is to record."""

    copy: Copy
    report: store_pb2.ReplicaReport
    update: catalog_pb2.ReplicaUpdate


class Verification:
    """One call, from its start to its end."""

    def __init__(self, context: Context, caller: Caller, request: pb.VerifyReplicasRequest) -> None:
        self._context = context
        self._caller = caller
        self._request = request
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._finished_bytes = 0
        self._under_way: dict[Copy, int] = {}
        self._total_bytes = 0

    def progress(self) -> pb.VerifyReplicasResponse:
        return pb.VerifyReplicasResponse(
            verified_bytes=self._finished_bytes + sum(self._under_way.values()), total_bytes=self._total_bytes
        )

    async def work(self, tell: Tell[pb.VerifyReplicasResponse]) -> None:
        failures: list[LibrarianError] = []
        if self._request.WhichOneof("what") == "dataset_uid":
            copies = await copies_of(self._context, self._caller, self._request.dataset_uid)
            self._total_bytes = sum(copy.size_bytes for copy in copies)
            failures += await self._read_group(copies, tell)
        else:
            failures += await self._read_store(tell)
        if failures:
            raise failures[0]
        last = self.progress()
        last.done = True
        await tell(last)

    async def _read_store(self, tell: Tell[pb.VerifyReplicasResponse]) -> list[LibrarianError]:
        """All copies on one store, in the order of names. Stops where the store does: `after_uid` goes on."""
        store = self._request.store
        await self._context.stores.service_of(store)
        self._total_bytes = await held_bytes(self._context, store)
        group: list[Copy] = []
        async for copy in all_copies(self._context, self._caller, store, after_uid=self._request.after_uid):
            group.append(copy)
            if len(group) == _GROUP_COUNT or sum(each.size_bytes for each in group) >= _GROUP_BYTES:
                failures = await self._read_group(group, tell)
                if failures:
                    return failures
                group = []
        return await self._read_group(group, tell)

    async def _read_group(
        self, copies: Sequence[Copy], tell: Tell[pb.VerifyReplicasResponse]
    ) -> list[LibrarianError]:
        """Reads, records, tells; answers what kept copies from being read."""
        results = await asyncio.gather(*(self._read(copy) for copy in copies))
        done = [result for result in results if isinstance(result, _Read)]
        await self._record([each.update for each in done])
        for each in done:
            self._finished_bytes += each.copy.size_bytes
            self._under_way.pop(each.copy, None)
            told = self.progress()
            told.report.CopyFrom(each.report)
            told.name = each.copy.name
            await tell(told)
        return [result for result in results if isinstance(result, LibrarianError)]

    async def _read(self, copy: Copy) -> _Read | LibrarianError:
        async with self._room:
            try:
                report = await self._read_once(copy)
                following = after_reading(copy.state, ReplicaState(report.state))
                if following.again:
                    await self._record([_update(copy, report, following.record)])
                    self._context.faults.hit("verify.suspected")
                    report = await self._read_once(copy)
                    following = after_reading(following.record, ReplicaState(report.state))
            except LibrarianError as error:
                self._under_way.pop(copy, None)
                return error
            return _Read(copy, report, _update(copy, report, following.record))

    async def _read_once(self, copy: Copy) -> store_pb2.ReplicaReport:
        """The store's report. One that knows nothing of the copy has lost it."""
        self._under_way[copy] = 0
        request = store_pb2.VerifyReplicaRequest(store=copy.store, uid=copy.uid)
        try:
            service = await self._context.stores.service_of(copy.store)
            async for answer in service.VerifyReplica(request):
                self._under_way[copy] = answer.verified_bytes
                if answer.HasField("report"):
                    return answer.report
        except StoreNotFound:
            raise
        except NotFound as error:
            return store_pb2.ReplicaReport(
                uid=copy.uid,
                store=copy.store,
                state=common_pb2.REPLICA_STATE_MISSING,
                findings=[store_pb2.MemberFinding(reason="MISSING", location=error.message)],
                finding_count=1,
                time=timestamp(self._context.clock.now()),
            )
        raise LibrarianError(f"store {copy.store} ended without a report on {copy.name}", name=copy.name)

    async def _record(self, updates: Sequence[catalog_pb2.ReplicaUpdate]) -> None:
        if not updates:
            return
        response = await self._context.catalog.UpdateReplicas(
            catalog_pb2.UpdateReplicasRequest(request_id=self._context.ids.new_uid(), updates=updates)
        )
        self._context.faults.hit("verify.recorded")
        for verdict in response.verdicts:
            # Moved by someone else meanwhile (removed, say): what was read is still told to the caller.
            error = error_of(verdict.error)
            self._context.logger.warning(
                "replica_update_refused",
                dataset_uid=updates[verdict.index].uid,
                store=updates[verdict.index].store,
                reason=error.reason,
                message=error.message,
            )


def _update(copy: Copy, report: store_pb2.ReplicaReport, state: ReplicaState) -> catalog_pb2.ReplicaUpdate:
    found = [Finding(each.path, each.reason, each.location) for each in report.findings[:1]]
    return catalog_pb2.ReplicaUpdate(
        uid=copy.uid,
        store=copy.store,
        state=common_pb2.ReplicaState.ValueType(state),
        state_reason=reason_of(copy.name, found, report.finding_count),
        verify_time=report.time if state is ReplicaState.AVAILABLE else None,
    )
