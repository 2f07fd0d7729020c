"""The transfers of one batch while this worker holds it, and the writing about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.store.v1.store_pb2 import UploadGrant
from librarian.errors import LibrarianError, StaleLease
from svckit.notifications import Bell
from transfer_svc.messages import error_to_json
from transfer_svc.sending import batch_queries, changes
from transfer_svc.sending.changes import Change
from transfer_svc.sending.lifecycle import BATCHED, TRANSFER, TransferEvent, TransferState
from transfer_svc.sending.means import Means
from transfer_svc.sending.troubles import consequence
from transfer_svc.sending.values import Batch, Parcel

_S, _E = TransferState, TransferEvent

# How each event is called in the log.
_LOGGED: Final = {
    _E.ACCEPT: "ACCEPTED",
    _E.FIND: "PRESENT",
    _E.DELIVER: "DELIVERED",
    _E.VERIFY: "RECEIPTED",
    _E.PUT_OFF: "PUT_OFF",
    _E.HOLD: "HELD",
}


class Desk:
    """`parcels`, by dataset uid, are those under way; one that ends, or that somebody else changed, leaves.

    `items`: as they were offered. `landings`: of the newest offer. `forgotten`: the receiver knows nothing
    of these. `withdrawn`: cancelled or held here, and the receiver is to be told. `changed` rings when there
    may be something to do; `recheck` says that somebody else may have changed a row.
    """

    def __init__(self, means: Means, batch: Batch, parcels: Iterable[Parcel]) -> None:
        self.means = means
        self.context = means.context
        self.batch = batch
        self.parcels: dict[str, Parcel] = {}
        self.items: dict[str, federation_pb2.OfferItem] = {}
        self.landings: Sequence[UploadGrant] = ()
        self.forgotten: set[str] = set()
        self.withdrawn: set[str] = set()
        self.changed = Bell()
        self.recheck = False
        self.is_lost = False
        self.begin_time = means.context.clock.now()
        for parcel in parcels:
            if parcel.state in BATCHED:
                self.parcels[parcel.dataset_uid] = parcel
                parcel.begun = parcel.state == _S.MOVING
            elif parcel.state == _S.CANCELLED or (parcel.state == _S.HELD and parcel.upload_id):
                self.withdrawn.add(parcel.dataset_uid)

    def in_state(self, *states: TransferState) -> list[Parcel]:
        return [parcel for parcel in self.parcels.values() if parcel.state in states]

    def lose(self) -> None:
        """Another worker has the batch: nothing more is done here."""
        self.is_lost = True
        self.parcels.clear()
        self.changed.ring()

    async def accept(self, sent: Sequence[tuple[Parcel, federation_pb2.SendOrder]]) -> None:
        """The receiver has reserved space for these and says where the bytes go."""
        news = []
        for parcel, order in sent:
            if not self._is_mine(parcel):
                continue
            parcel.landing = order.landing
            self.forgotten.discard(parcel.dataset_uid)
            if parcel.state == _S.MOVING and parcel.upload_id == order.upload_id:
                continue
            if parcel.state != _S.MOVING:
                news.append(self._moved(parcel, _E.ACCEPT, upload_id=order.upload_id))
            else:
                news.append(self._same(parcel, "ACCEPTED", upload_id=order.upload_id))
        await self.write(news)

    async def delivered(self, parcels: Sequence[Parcel]) -> None:
        """All bytes of these are there, and the receiver knows."""
        mine = [parcel for parcel in parcels if self._is_mine(parcel) and parcel.state != _S.DELIVERED]
        await self.write([self._moved(parcel, _E.DELIVER) for parcel in mine])

    async def end(self, parcels: Sequence[Parcel], event: TransferEvent, message: str = "") -> None:
        """FIND or VERIFY: a receipt is recorded."""
        mine = {parcel.transfer_id: parcel for parcel in parcels if self._is_mine(parcel)}
        written = await self.write([self._moved(each, event, message=message) for each in mine.values()])
        state = _S.VERIFIED if event is _E.VERIFY else _S.PRESENT
        self.means.metrics.ended.labels(state.name).inc(len(written))
        if event is _E.VERIFY:
            self.means.metrics.sent_bytes.inc(sum(mine[each].size_bytes for each in written))
            self._trace([mine[each] for each in written])

    async def troubled(self, failed: Sequence[tuple[Parcel, LibrarianError]]) -> None:
        """HELD or put off, as the errors say; a copy here that is in doubt is told to the catalogue."""
        now, news, suspects, tally = self.context.clock.now(), [], [], dict[str, list[str]]()
        for parcel, error in failed:
            if not self._is_mine(parcel):
                continue
            outcome = consequence(error, parcel.last_reason, parcel.attempt_count, self.means.rand())
            event = _E.HOLD if outcome.hold else _E.PUT_OFF
            due = None if outcome.hold else now + timedelta(seconds=outcome.delay)
            if outcome.suspect and parcel.store:
                suspects.append((parcel, error))
            if outcome.hold and parcel.state == _S.MOVING:
                self.withdrawn.add(parcel.dataset_uid)
            tally.setdefault(error.reason, []).append(error.message)
            news.append(
                self._moved(parcel, event, error=error, attempt_count=outcome.attempt, not_before=due)
            )
        for reason, messages in tally.items():
            self.means.metrics.troubles.labels(reason).inc(len(messages))
            self.context.logger.warning(
                "transfers_troubled",
                batch_id=self.batch.batch_id,
                destination=str(self.batch.to),
                reason=reason,
                message=messages[0],
                count=len(messages),
            )
        if suspects:
            await self._suspect(suspects)
            self.context.faults.hit("send.suspects_told")
        await self.write(news)

    async def write(self, news: Sequence[Change]) -> set[str]:
        """Answers the ids written. Those that are final, or queued again, or changed by somebody else, leave
        the desk. Raises StaleLease where the batch is another worker's now.
        """
        if not news:
            return set()
        async with self.context.database.hot() as connection:
            written = await changes.write_changes(
                connection,
                self.batch,
                news,
                now=self.context.clock.now(),
                channel=self.means.channels.moved,
            )
        after = {change.transfer_id: change.after for change in news}
        if len(written) < len(news):
            await self.look_again()
        for uid, parcel in list(self.parcels.items()):
            if parcel.transfer_id in written and after[parcel.transfer_id] not in BATCHED:
                del self.parcels[uid]
        self.changed.ring()
        return written

    async def look_again(self) -> bool:
        """Drops what somebody else has changed; whether there was any. Raises StaleLease."""
        self.recheck = False
        async with self.context.database.hot() as connection:
            held = await batch_queries.extend(
                connection, [self.batch], self.context.clock.now() + self.means.ttl
            )
            rows = {
                row.transfer_id: row
                for row in await batch_queries.parcels_of(connection, self.batch.batch_id)
            }
        if not held:
            self.lose()
            raise StaleLease(f"batch {self.batch.batch_id} was taken over by another worker")
        gone = False
        for uid, parcel in list(self.parcels.items()):
            row = rows.get(parcel.transfer_id)
            if row is None or row.state not in BATCHED:
                gone = True
                del self.parcels[uid]
                if row is not None and row.state == _S.CANCELLED:
                    self.withdrawn.add(uid)
        if gone:
            self.changed.ring()
        return gone

    def _is_mine(self, parcel: Parcel) -> bool:
        """Bringing and confirming go on side by side: the other may have ended it meanwhile."""
        return self.parcels.get(parcel.dataset_uid) is parcel and parcel.state in BATCHED

    def _trace(self, parcels: Iterable[Parcel]) -> None:
        tracing = self.means.tracing
        if not tracing.enabled:
            return
        now = self.context.clock.now()
        for parcel in parcels:
            tracing.record(
                "transfer",
                traceparent=parcel.traceparent,
                start=self.begin_time,
                end=now,
                attributes={
                    "dataset.uid": parcel.dataset_uid,
                    "dataset.name": parcel.name,
                    "destination": str(self.batch.to),
                    "via": self.batch.via,
                },
            )

    def _moved(self, parcel: Parcel, event: TransferEvent, **fields: Any) -> Change:
        """The transition, made on the parcel too."""
        before = TransferState(parcel.state)
        parcel.state = TRANSFER.move(before, event, item=parcel.transfer_id)
        if event in {_E.DELIVER, _E.VERIFY}:
            parcel.moved_bytes = parcel.size_bytes
        return self._change(parcel, before, _LOGGED[event], **fields)

    def _same(self, parcel: Parcel, event: str, **fields: Any) -> Change:
        return self._change(parcel, TransferState(parcel.state), event, **fields)

    def _change(
        self,
        parcel: Parcel,
        before: TransferState,
        logged: str,
        *,
        upload_id: str = "",
        message: str = "",
        error: LibrarianError | None = None,
        attempt_count: int | None = None,
        not_before: datetime | None = None,
    ) -> Change:
        parcel.upload_id = upload_id or parcel.upload_id
        return Change(
            parcel.transfer_id,
            before,
            TransferState(parcel.state),
            logged,
            upload_id=parcel.upload_id,
            attempt_count=parcel.attempt_count if attempt_count is None else attempt_count,
            moved_bytes=parcel.moved_bytes,
            # What passed stays known until it is over, so that repetitions are counted.
            error_json=error_to_json(error) if error else _lasting(parcel),
            reason=error.reason if error else "",
            message=error.message if error else message,
            not_before=not_before,
        )

    async def _suspect(self, failed: Sequence[tuple[Parcel, LibrarianError]]) -> None:
        """A full re-read decides. That the catalogue does not take it is no reason to stop."""
        request = catalog_pb2.UpdateReplicasRequest(
            request_id=self.context.ids.new_uid(),
            updates=[
                catalog_pb2.ReplicaUpdate(
                    uid=parcel.dataset_uid,
                    store=parcel.store,
                    state=common_pb2.REPLICA_STATE_SUSPECT,
                    state_reason=f"sending it: {error.message}",
                )
                for parcel, error in failed
            ],
        )
        try:
            response = await self.context.catalog.UpdateReplicas(request)
        except LibrarianError as error:
            self.context.logger.warning("suspects_not_told", reason=error.reason, count=len(failed))
            return
        for verdict in response.verdicts:
            self.context.logger.warning(
                "suspect_refused", uid=failed[verdict.index][0].dataset_uid, reason=verdict.error.reason
            )


def _lasting(parcel: Parcel) -> str:
    ended = parcel.state in {_S.VERIFIED, _S.PRESENT}
    return "" if ended else parcel.error_json
