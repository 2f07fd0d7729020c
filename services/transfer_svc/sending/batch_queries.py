"""Every statement about batches: finding work, claiming it, keeping it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Integer,
    LargeBinary,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from svckit import leases
from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare, arrays, bare
from transfer_svc.sending.changes import (
    NOW,
    TIME,
    columns_of,
    constant,
    held_batch,
    in_state,
    log_constant,
    notify,
    told,
)
from transfer_svc.sending.lifecycle import BATCHED, TransferState
from transfer_svc.sending.tables import batches, routes, transfers
from transfer_svc.sending.values import PARCEL_COLUMNS, Batch, Parcel, Route

_ready = and_(in_state(TransferState.QUEUED), transfers.c.not_before.is_(None))
_put_off = and_(in_state(TransferState.QUEUED), transfers.c.not_before.is_not(None))
_open = not_(batches.c.done)
_free = or_(batches.c.lease_until.is_(None), batches.c.lease_until <= NOW)


@dataclass(frozen=True, slots=True)
class Due:
    """`route_ids`: with something in their queue. `batch_ids`: begun, and nobody is at them. `put_off`:
    something that was put off is due.
    """

    route_ids: list[str]
    batch_ids: list[str]
    put_off: bool


_FIND = compile_hot(
    union_all(
        select(literal("route").label("what"), routes.c.route_id.label("id")).where(
            not_(routes.c.removed),
            not_(routes.c.paused),
            exists().where(_ready, transfers.c.route_id == routes.c.route_id),
        ),
        select(literal("batch"), batches.c.batch_id).where(_open, _free),
        select(literal("put_off"), literal("")).where(
            exists().where(_put_off, transfers.c.not_before <= NOW)
        ),
    )
)


async def find_due(connection: Bare, now: datetime) -> Due:
    found: dict[str, list[str]] = {"route": [], "batch": [], "put_off": []}
    for row in await _FIND.fetch(connection, now=now):
        found[row["what"]].append(row["id"])
    return Due(found["route"], found["batch"], bool(found["put_off"]))


_due = (
    select(transfers.c.transfer_id)
    .where(_put_off, transfers.c.not_before <= NOW)
    .order_by(transfers.c.not_before)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_REQUEUE = compile_hot(
    update(transfers)
    .values(not_before=None, update_time=NOW)
    .where(transfers.c.transfer_id == _due.c.transfer_id)
)
_NEXT_DUE = compile_hot(select(func.min(transfers.c.not_before).label("due")).where(_put_off))


def _cancel_unrouted() -> Any:
    unrouted = in_order(transfers, _ready, transfers.c.route_id == routes.c.route_id, routes.c.removed)
    written = (
        update(transfers)
        .values(state=constant(TransferState.CANCELLED), state_time=NOW, update_time=NOW)
        .where(locked(transfers, unrouted))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    return told(written).add_cte(log_constant(written, constant(TransferState.CANCELLED)))


_CANCEL_UNROUTED = compile_hot(_cancel_unrouted())


async def requeue(connection: Bare, now: datetime, limit: int, *, channel: str) -> None:
    """Puts what was put off and is due back into its queue; what has no route any more is cancelled."""
    await _REQUEUE.fetch(connection, now=now, limit=limit)
    await _CANCEL_UNROUTED.fetch(
        connection, now=now, channel=channel, event="CANCELLED", reason="", message="its route was removed"
    )


async def next_due(connection: Bare) -> datetime | None:
    row = await _NEXT_DUE.fetchrow(connection)
    due: datetime | None = row["due"] if row is not None else None
    return due


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one batch, and of all that is under way to its destination by the same mover."""

    max_items: int
    max_bytes: int
    moving_batches: int
    open_batches: int


_LOCK_ROUTE = compile_hot(
    select(routes.c.max_active)
    .where(routes.c.route_id == bindparam("route_id"), not_(routes.c.removed), not_(routes.c.paused))
    .with_for_update(skip_locked=True)
)
_mine = and_(
    _open,
    batches.c.destination == bindparam("destination"),
    batches.c.destination_kind == bindparam("kind"),
    batches.c.via == bindparam("via"),
)
_COUNT = compile_hot(
    select(
        select(func.count())
        .select_from(transfers)
        .where(
            transfers.c.route_id == bindparam("route_id"),
            in_state(*BATCHED),
        )
        .scalar_subquery()
        .label("active"),
        select(func.count()).select_from(batches).where(_mine).scalar_subquery().label("open"),
        select(func.count())
        .select_from(batches)
        .where(_mine, batches.c.moving)
        .scalar_subquery()
        .label("moving"),
    )
)


def _claim() -> Any:
    wanted = (
        select(transfers.c.transfer_id, transfers.c.size_bytes, transfers.c.rank)
        .where(_ready, transfers.c.route_id == bindparam("route_id"))
        .order_by(transfers.c.rank)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("wanted")
    )
    before = (
        func.sum(wanted.c.size_bytes).over(order_by=(wanted.c.rank, wanted.c.transfer_id))
        - wanted.c.size_bytes
    )
    sized = select(wanted.c.transfer_id, before.label("before")).cte("sized")
    moved = (
        update(transfers)
        .values(
            state=constant(TransferState.OFFERED),
            state_time=NOW,
            update_time=NOW,
            batch_id=bindparam("batch_id", type_=Text),
            moved_bytes=0,
            bytes_per_second=0,
        )
        .where(
            transfers.c.transfer_id == sized.c.transfer_id,
            sized.c.before < bindparam("max_bytes", type_=BigInteger),
        )
        .returning(*columns_of(transfers, PARCEL_COLUMNS))
        .cte("moved")
    )
    row = {
        "batch_id": bindparam("batch_id", type_=Text),
        "route_id": bindparam("route_id", type_=Text),
        "destination": bindparam("destination", type_=Text),
        "destination_kind": bindparam("kind", type_=batches.c.destination_kind.type),
        "via": bindparam("via", type_=Text),
        "create_time": NOW,
        "lease_owner": bindparam("owner", type_=Text),
        "lease_fence": constant(1),
        "lease_until": bindparam("until", type_=TIME),
    }
    made = (
        insert(batches)
        .from_select(list(row), select(*row.values()).where(exists().select_from(moved)))
        .returning(batches.c.batch_id)
        .cte("made")
    )
    logged = log_constant(moved, constant(TransferState.OFFERED))
    return select(moved).add_cte(made, logged)


_CLAIM = compile_hot(_claim())


async def claim_queued(
    connection: AsyncConnection,
    route: Route,
    limits: Limits,
    *,
    batch_id: str,
    owner: str,
    now: datetime,
    ttl: timedelta,
    channel: str,
) -> tuple[Batch, list[Parcel]] | None:
    """The next of a route's queue, in a new batch that is held; None where there is none, no room, or where
    another worker is choosing at this moment.
    """
    place = {"destination": route.destination, "kind": route.destination_kind, "via": route.via}
    await connection.execute(select(literal(1)))
    driver = await bare(connection)
    locked = await _LOCK_ROUTE.fetchrow(driver, route_id=route.route_id)
    if locked is None:
        return None
    counts = await _COUNT.fetchrow(driver, route_id=route.route_id, **place)
    assert counts is not None
    room = min(locked["max_active"] - counts["active"], limits.max_items)
    if room <= 0 or counts["moving"] >= limits.moving_batches or counts["open"] >= limits.open_batches:
        return None
    rows = await _CLAIM.fetch(
        driver,
        route_id=route.route_id,
        limit=room,
        max_bytes=limits.max_bytes,
        batch_id=batch_id,
        owner=owner,
        now=now,
        until=now + ttl,
        event="OFFERED",
        reason="",
        message=f"taken into batch {batch_id}",
        **place,
    )
    if not rows:
        return None
    parcels = [Parcel(*row) for row in rows]
    for start in range(0, len(parcels), 200):
        ids = ",".join(parcel.transfer_id for parcel in parcels[start : start + 200])
        await notify(driver, channel, ids)
    batch = Batch(batch_id, route.route_id, route.destination, route.destination_kind, route.via, None, "", 1)
    return batch, parcels


async def take_over(
    connection: AsyncConnection, batch_ids: Collection[str], *, owner: str, now: datetime, ttl: timedelta
) -> list[Batch]:
    """Claims batches that were begun and that nobody holds."""
    statement = leases.claim(
        batches,
        where=and_(_open, batches.c.batch_id.in_(list(batch_ids))),
        order_by=[batches.c.create_time],
        limit=len(batch_ids),
        owner=owner,
        now=now,
        ttl=ttl,
    )
    return [Batch.of(row) for row in (await connection.execute(statement)).mappings()]


_PARCELS = compile_hot(
    select(*columns_of(transfers, PARCEL_COLUMNS)).where(transfers.c.batch_id == bindparam("batch_id"))
)


async def parcels_of(connection: Bare, batch_id: str) -> list[Parcel]:
    """All that are in the batch, with those that have ended in it."""
    return [Parcel(*row) for row in await _PARCELS.fetch(connection, batch_id=batch_id)]


def _of_held() -> Any:
    return and_(
        batches.c.batch_id == bindparam("batch_id_", type_=Text),
        batches.c.lease_fence == bindparam("fence", type_=BigInteger),
        batches.c.lease_owner.is_not(None),
    )


_KEEP_OFFER = compile_hot(
    update(batches)
    .values(offer=bindparam("offer", type_=LargeBinary))
    .where(_of_held())
    .returning(batches.c.batch_id)
)
_KEEP_HANDLE = compile_hot(
    update(batches)
    .values(handle=bindparam("handle", type_=Text))
    .where(_of_held())
    .returning(batches.c.batch_id)
)
_SET_MOVING = compile_hot(
    update(batches)
    .values(moving=bindparam("moving", type_=Boolean))
    .where(_of_held())
    .returning(batches.c.batch_id)
)
_FINISH = compile_hot(
    update(batches)
    .values(done=True, moving=False, offer=None, lease_owner=None, lease_until=None)
    .where(_of_held())
    .returning(batches.c.batch_id)
)


async def keep_offer(connection: Bare, batch: Batch, offer: bytes) -> bool:
    """Writes the offer down before it is made. Each of these answers whether the batch is still held."""
    return bool(
        await _KEEP_OFFER.fetch(connection, batch_id_=batch.batch_id, fence=batch.lease_fence, offer=offer)
    )


async def keep_handle(connection: Bare, batch: Batch, handle: str) -> bool:
    """Writes the mover's handle down before it starts."""
    return bool(
        await _KEEP_HANDLE.fetch(connection, batch_id_=batch.batch_id, fence=batch.lease_fence, handle=handle)
    )


async def set_moving(connection: Bare, batch: Batch, *, moving: bool) -> bool:
    return bool(
        await _SET_MOVING.fetch(connection, batch_id_=batch.batch_id, fence=batch.lease_fence, moving=moving)
    )


async def finish(connection: Bare, batch: Batch) -> bool:
    """Nothing of it is under way any more."""
    return bool(await _FINISH.fetch(connection, batch_id_=batch.batch_id, fence=batch.lease_fence))


_given = arrays(ids=Text, fences=BigInteger)
_still_held = in_order(
    batches,
    batches.c.batch_id == _given.c.ids,
    batches.c.lease_fence == _given.c.fences,
    batches.c.lease_owner.is_not(None),
)
_EXTEND = compile_hot(
    update(batches)
    .values(lease_until=bindparam("until", type_=TIME))
    .where(locked(batches, _still_held))
    .returning(batches.c.batch_id)
)
_RELEASE = compile_hot(
    update(batches).values(lease_owner=None, lease_until=None).where(locked(batches, _still_held))
)


def _pairs(held: Collection[Batch]) -> dict[str, list[Any]]:
    return {"ids": [batch.batch_id for batch in held], "fences": [batch.lease_fence for batch in held]}


async def extend(connection: Bare, held: Collection[Batch], until: datetime) -> set[str]:
    """Answers which are still held."""
    return {row["batch_id"] for row in await _EXTEND.fetch(connection, **_pairs(held), until=until)}


async def release(connection: Bare, held: Collection[Batch]) -> None:
    await _RELEASE.fetch(connection, **_pairs(held))


def _split() -> Any:
    held = held_batch()
    moving = in_order(
        transfers,
        transfers.c.transfer_id == any_(bindparam("ids", type_=ARRAY(Text))),
        transfers.c.batch_id == held.c.batch_id,
    )
    moved = (
        update(transfers)
        .values(batch_id=bindparam("new_id", type_=Text), update_time=NOW)
        .where(locked(transfers, moving))
        .returning(transfers.c.transfer_id)
        .cte("moved")
    )
    same = ("route_id", "destination", "destination_kind", "via")
    made = (
        insert(batches)
        .from_select(
            ["batch_id", "create_time", *same],
            select(bindparam("new_id", type_=Text), NOW, *columns_of(batches, same)).where(
                batches.c.batch_id == held.c.batch_id
            ),
        )
        .returning(batches.c.batch_id)
        .cte("made")
    )
    cleared = (
        update(batches)
        .values(offer=None)
        .where(batches.c.batch_id == held.c.batch_id)
        .returning(batches.c.batch_id)
        .cte("cleared")
    )
    return select(func.pg_notify(bindparam("channel", type_=Text), "")).add_cte(moved, made, cleared)


_SPLIT = compile_hot(_split())


async def split(
    connection: Bare, batch: Batch, new_id: str, ids: Collection[str], *, now: datetime, channel: str
) -> None:
    """Moves these of a held batch into one of their own, which any worker may take."""
    await _SPLIT.fetch(
        connection,
        batch_id=batch.batch_id,
        fence=batch.lease_fence,
        new_id=new_id,
        ids=list(ids),
        now=now,
        channel=channel,
    )
