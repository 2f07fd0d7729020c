"""What is asked of the database when a receiver turns out to have been restored from a backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, Text, bindparam, func, not_, or_, select, update

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare
from transfer_svc.sending.changes import NOW, constant, in_state, log_constant, told
from transfer_svc.sending.lifecycle import ARRIVED, TransferEvent, TransferState
from transfer_svc.sending.tables import transfers
from transfer_svc.sending.values import RELAY, Destination

_newer = transfers.alias("newer")
# Of a dataset that was sent several times, the last transfer speaks for all.
_is_last = not_(
    select(_newer.c.transfer_id)
    .where(
        _newer.c.dataset_uid == transfers.c.dataset_uid,
        _newer.c.destination == transfers.c.destination,
        _newer.c.destination_kind == transfers.c.destination_kind,
        _newer.c.way == transfers.c.way,
        _newer.c.transfer_id > transfers.c.transfer_id,
    )
    .exists()
)
_before = bindparam("before", type_=Text)
_page = (
    select(transfers.c.transfer_id)
    .where(
        in_state(*ARRIVED),
        transfers.c.destination == bindparam("destination", type_=Text),
        transfers.c.destination_kind == bindparam("kind", type_=Integer),
        transfers.c.via != RELAY,
        or_(_before == "", transfers.c.transfer_id < _before),
    )
    .order_by(transfers.c.transfer_id.desc())
    .limit(bindparam("limit", type_=Integer))
    .cte("page")
)
_written = (
    update(transfers)
    .values(
        state=constant(TransferState.QUEUED),
        state_time=NOW,
        update_time=NOW,
        not_before=None,
        batch_id=None,
        upload_id="",
        attempt_count=0,
    )
    .where(locked(transfers, in_order(transfers, transfers.c.transfer_id == _page.c.transfer_id, _is_last)))
    .returning(transfers.c.transfer_id)
    .cte("written")
)
_notified = told(_written).add_cte(log_constant(_written, constant(TransferState.QUEUED))).subquery("counted")
_DOUBT = compile_hot(
    select(
        select(func.count()).select_from(_written).scalar_subquery().label("doubted"),
        select(func.coalesce(func.min(_page.c.transfer_id), "")).scalar_subquery().label("last"),
        select(func.count()).select_from(_notified).scalar_subquery().label("told"),
    )
)


@dataclass(frozen=True, slots=True)
class Doubted:
    """`last`: where to go on, "" when there is nothing more."""

    count: int
    last: str


async def doubt(
    connection: Bare, to: Destination, *, before: str, limit: int, now: datetime, channel: str
) -> Doubted:
    """A page of what arrived at `to`, newest first: QUEUED again."""
    row = await _DOUBT.fetchrow(
        connection,
        destination=to.name,
        kind=int(to.kind),
        before=before,
        limit=limit,
        now=now,
        channel=channel,
        event=TransferEvent.DOUBT.name,
        reason="CURSOR_OF_ANOTHER_EPOCH",
        message=f"{to.name} was restored from a backup: it is asked whether it still has this",
    )
    assert row is not None, "sums have one row"
    return Doubted(row["doubted"], row["last"])
