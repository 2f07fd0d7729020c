"""What the workers write about deliveries, as their ingests go on: one statement a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import LargeBinary, SmallInteger, Text, and_, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare, arrays
from transfer_svc.receiving.lifecycle import DELIVERY, FINAL, DeliveryEvent, DeliveryState
from transfer_svc.receiving.queries import before
from transfer_svc.receiving.tables import deliveries
from transfer_svc.receiving.values import Ended

# 36 characters and a comma each; a notification carries less than 8000 bytes.
_IDS_A_NOTIFICATION: Final = 200
_d = deliveries.c

_ended = arrays(uploads=Text, states=SmallInteger, receipts=LargeBinary, errors=Text)


def _conclude() -> Any:
    """Where the table allows it; and tells the batches, as many as one notification carries to a row."""
    moves = {(state, after) for (state, _), after in DELIVERY.transitions.items() if after in FINAL}
    ending = in_order(
        deliveries,
        _d.upload_id == _ended.c.uploads,
        _d.state <= DeliveryState.VERIFYING,
        or_(*[and_(_d.state == state, _ended.c.states == after) for state, after in sorted(moves)]),
        carrying=(_ended.c.states, _ended.c.receipts, _ended.c.errors),
    )
    written = (
        update(deliveries)
        .values(
            state=ending.c.states,
            receipt=ending.c.receipts,
            error_json=ending.c.errors,
            update_time=bindparam("now"),
        )
        .where(locked(deliveries, ending))
        .returning(_d.batch_id)
        .cte("written")
    )
    batches = select(written.c.batch_id).distinct().subquery("batches")
    part = (func.row_number().over() - 1) // _IDS_A_NOTIFICATION
    parts = select(batches.c.batch_id, part.label("part")).subquery("parts")
    ids = func.string_agg(parts.c.batch_id, ",")
    return select(func.pg_notify(bindparam("channel", type_=Text), ids)).group_by(parts.c.part)


_CONCLUDE: Final = compile_hot(_conclude())


async def conclude(connection: Bare, ended: Sequence[Ended], *, channel: str, now: datetime) -> None:
    """The ends of deliveries by their uploads; those who wait for their batches are woken."""
    await _CONCLUDE.fetch(
        connection,
        uploads=[each.upload_id for each in ended],
        states=[each.state for each in ended],
        receipts=[each.receipt for each in ended],
        errors=[each.error_json for each in ended],
        channel=channel,
        now=now,
    )


_ADVANCE: Final = {
    event: compile_hot(
        update(deliveries)
        .values(state=int(after), update_time=bindparam("now"))
        .where(
            locked(
                deliveries,
                in_order(
                    deliveries, _d.upload_id == any_(bindparam("uploads", type_=ARRAY(Text))), before(event)
                ),
            )
        )
    )
    for event, after in (
        (DeliveryEvent.ARRIVE, DeliveryState.ARRIVING),
        (DeliveryEvent.VERIFY, DeliveryState.VERIFYING),
    )
}


async def advance(connection: Bare, event: DeliveryEvent, uploads: Sequence[str], now: datetime) -> None:
    """ARRIVE or VERIFY, where that is news."""
    await _ADVANCE[event].fetch(connection, uploads=list(uploads), now=now)
