"""Every statement of the planner: its place in the event log, what it plans and what it closes.

What was planned and how far the log was read are written in one statement, fenced by the planner's lease: a
planner that died or was overtaken has planned nothing twice and left nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Double,
    Integer,
    SmallInteger,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from svckit import leases
from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare, arrays
from transfer_svc.sending.changes import (
    NOW,
    TIME,
    columns_of,
    constant,
    ids_of,
    in_state,
    log_constant,
    told,
)
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.tables import batches, planner, routes, transfers
from transfer_svc.sending.values import ROUTE_COLUMNS, BackfillState, DestinationKind, Route

_S = TransferState


@dataclass(frozen=True, slots=True)
class Place:
    """How far the event log has been read, under the lease of that fence."""

    epoch: int
    sequence: int
    fence: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A transfer to be."""

    transfer_id: str
    route: Route
    dataset_uid: str
    name: str
    kind: int
    size_bytes: int
    state: TransferState
    rank: float


async def claim(connection: AsyncConnection, *, owner: str, now: datetime, ttl: timedelta) -> Place | None:
    """The planner's lease; None while another has it."""
    statement = leases.claim(
        planner, where=true(), order_by=[planner.c.planner_id], limit=1, owner=owner, now=now, ttl=ttl
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else Place(row["epoch"], row["sequence"], row["lease_fence"])


_held = and_(
    planner.c.lease_fence == bindparam("fence", type_=BigInteger), planner.c.lease_owner.is_not(None)
)
_EXTEND = compile_hot(
    update(planner)
    .values(lease_until=bindparam("until", type_=TIME))
    .where(_held)
    .returning(planner.c.planner_id)
)
_RELEASE = compile_hot(update(planner).values(lease_owner=None, lease_until=None).where(_held))
_MOVE = {"epoch": bindparam("epoch", type_=BigInteger), "sequence": bindparam("sequence", type_=BigInteger)}
_ADVANCE = compile_hot(update(planner).values(_MOVE).where(_held).returning(planner.c.planner_id))


async def extend(connection: Bare, fence: int, until: datetime) -> bool:
    return bool(await _EXTEND.fetch(connection, fence=fence, until=until))


async def release(connection: Bare, fence: int) -> None:
    await _RELEASE.fetch(connection, fence=fence)


async def advance(connection: Bare, place: Place) -> bool:
    """The log has been read so far; whether the lease is still held."""
    return bool(
        await _ADVANCE.fetch(connection, fence=place.fence, epoch=place.epoch, sequence=place.sequence)
    )


_ROUTES = compile_hot(
    select(*columns_of(routes, ROUTE_COLUMNS)).where(not_(routes.c.removed)).order_by(routes.c.route_id)
)
_CARRIED = compile_hot(
    select(*columns_of(routes, ROUTE_COLUMNS)).where(
        or_(
            not_(routes.c.removed),
            exists().where(batches.c.route_id == routes.c.route_id, not_(batches.c.done)),
        )
    )
)


async def routes_in_use(connection: Bare) -> list[Route]:
    return [Route(*row) for row in await _ROUTES.fetch(connection)]


async def routes_carried(connection: Bare) -> list[Route]:
    """With those removed that have something under way."""
    return [Route(*row) for row in await _CARRIED.fetch(connection)]


_planned = arrays(
    ids=Text,
    route_ids=Text,
    uids=Text,
    names=Text,
    kinds=SmallInteger,
    sizes=BigInteger,
    destinations=Text,
    destination_kinds=SmallInteger,
    vias=Text,
    states=SmallInteger,
    priorities=Integer,
    ranks=Double,
)


def _insert(held: CTE) -> Any:
    given = _planned.c
    # What somebody cancelled, or what can never work, is not planned again by the same route.
    ended = exists().where(
        transfers.c.dataset_uid == given.uids,
        transfers.c.destination == given.destinations,
        transfers.c.destination_kind == given.destination_kinds,
        transfers.c.route_id == given.route_ids,
        in_state(_S.CANCELLED, _S.FAILED),
    )
    row = {
        "transfer_id": given.ids,
        "route_id": given.route_ids,
        "dataset_uid": given.uids,
        "name": given.names,
        "kind": given.kinds,
        "size_bytes": given.sizes,
        "destination": given.destinations,
        "destination_kind": given.destination_kinds,
        "way": bindparam("way", type_=Text),
        "via": given.vias,
        "state": given.states,
        "priority": given.priorities,
        "rank": given.ranks,
        "plan_time": NOW,
        "state_time": NOW,
        "update_time": NOW,
    }
    written = (
        insert(transfers)
        .from_select(
            list(row), select(*row.values()).select_from(_planned.join(held, true())).where(not_(ended))
        )
        .on_conflict_do_nothing()
        .returning(transfers.c.transfer_id, transfers.c.state)
        .cte("written")
    )
    return told(written).add_cte(log_constant(written, written.c.state))


_PLAN = compile_hot(
    _insert(update(planner).values(_MOVE).where(_held).returning(planner.c.planner_id).cte("held"))
)
_page_of = (
    update(routes)
    .values(
        backfill_token=bindparam("next_token", type_=Text),
        backfill_state=bindparam("backfill_state", type_=SmallInteger),
        backfilled_count=routes.c.backfilled_count + bindparam("looked_at", type_=BigInteger),
    )
    .where(
        routes.c.route_id == bindparam("route_id", type_=Text),
        routes.c.backfill_token == bindparam("token", type_=Text),
        routes.c.backfill_state == constant(BackfillState.RUNNING),
        exists().where(_held),
    )
    .returning(routes.c.route_id)
    .cte("held")
)
_BACKFILL = compile_hot(_insert(_page_of))
_FINISH_PAGE = compile_hot(select(_page_of.c.route_id))


def _columns(plans: Sequence[Plan]) -> dict[str, Any]:
    return {
        "ids": [plan.transfer_id for plan in plans],
        "route_ids": [plan.route.route_id for plan in plans],
        "uids": [plan.dataset_uid for plan in plans],
        "names": [plan.name for plan in plans],
        "kinds": [plan.kind for plan in plans],
        "sizes": [plan.size_bytes for plan in plans],
        "destinations": [plan.route.destination for plan in plans],
        "destination_kinds": [plan.route.destination_kind for plan in plans],
        "vias": [plan.route.via for plan in plans],
        "states": [int(plan.state) for plan in plans],
        "priorities": [plan.route.priority for plan in plans],
        "ranks": [plan.rank for plan in plans],
        "event": "PLANNED",
        "reason": "",
        "message": "a route wants it there",
        "way": "link",
    }


async def write_plans(
    connection: Bare, place: Place, plans: Sequence[Plan], *, now: datetime, channel: str
) -> set[str]:
    """Writes transfers and the place in the log; answers those that were new. Under a lost lease: nothing."""
    rows = await _PLAN.fetch(
        connection,
        fence=place.fence,
        epoch=place.epoch,
        sequence=place.sequence,
        now=now,
        channel=channel,
        **_columns(plans),
    )
    return ids_of(rows)


async def write_page(
    connection: Bare,
    route: Route,
    plans: Sequence[Plan],
    *,
    fence: int,
    next_token: str,
    looked_at: int,
    now: datetime,
    channel: str,
) -> set[str]:
    """Writes a page of a route's backfill and where the next one begins ("": there is none)."""
    page = {
        "fence": fence,
        "route_id": route.route_id,
        "token": route.backfill_token,
        "next_token": next_token,
        "backfill_state": int(BackfillState.RUNNING if next_token else BackfillState.DONE),
        "looked_at": looked_at,
    }
    if not plans:
        await _FINISH_PAGE.fetch(connection, **page)
        return set()
    return ids_of(await _BACKFILL.fetch(connection, now=now, channel=channel, **page, **_columns(plans)))


_RESTART_BACKFILL = compile_hot(
    update(routes)
    .values(backfill_token="", backfilled_count=0)
    .where(routes.c.route_id == bindparam("route_id"), exists().where(_held))
)


async def restart_backfill(connection: Bare, route_id: str, fence: int) -> None:
    """Its page token is of no use any more. What it planned is there and is not planned twice."""
    await _RESTART_BACKFILL.fetch(connection, route_id=route_id, fence=fence)


_arrived = arrays(uids=Text, destinations=Text, destination_kinds=SmallInteger)


def _close() -> Any:
    given = _arrived.c
    closing = in_order(
        transfers,
        transfers.c.dataset_uid == given.uids,
        transfers.c.destination == given.destinations,
        transfers.c.destination_kind == given.destination_kinds,
        in_state(_S.PLANNED, _S.QUEUED, _S.HELD),
    )
    written = (
        update(transfers)
        .values(state=constant(_S.PRESENT), state_time=NOW, update_time=NOW, not_before=None, error_json="")
        .where(locked(transfers, closing))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    return told(written).add_cte(log_constant(written, constant(_S.PRESENT)))


_CLOSE = compile_hot(_close())


async def close_present(
    connection: Bare,
    arrived: Sequence[tuple[str, DestinationKind, str]],
    *,
    now: datetime,
    channel: str,
) -> set[str]:
    """Ends transfers that are under way in no batch: the dataset (uid) is at the destination. Those in a
    batch end with it.
    """
    uids, kinds, names = (list(each) for each in zip(*arrived, strict=True))
    rows = await _CLOSE.fetch(
        connection,
        uids=uids,
        destinations=names,
        destination_kinds=[int(kind) for kind in kinds],
        event="PRESENT",
        reason="",
        message="it came there by another way",
        now=now,
        channel=channel,
    )
    return ids_of(rows)


# What held a transfer for the sake of this site's own copy.
_SOURCE_REASONS = ("SOURCE_VANISHED", "SOURCE_CHANGED", "READ_FAILED", "CHECKSUM_MISMATCH", "REPLICA_CORRUPT")


def _reopen() -> Any:
    for_the_source = in_order(
        transfers,
        transfers.c.dataset_uid == any_(bindparam("uids", type_=ARRAY(Text))),
        in_state(_S.HELD),
        or_(*[transfers.c.error_json.contains(f'"{name}"', autoescape=True) for name in _SOURCE_REASONS]),
    )
    written = (
        update(transfers)
        .values(
            state=constant(_S.QUEUED),
            state_time=NOW,
            update_time=NOW,
            not_before=None,
            batch_id=None,
            attempt_count=constant(0),
        )
        .where(locked(transfers, for_the_source))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    return told(written).add_cte(log_constant(written, constant(_S.QUEUED)))


_REOPEN = compile_hot(_reopen())


async def retry_sources(connection: Bare, uids: Sequence[str], *, now: datetime, channel: str) -> set[str]:
    """A copy here was found to be well: what was held for its sake is tried again."""
    rows = await _REOPEN.fetch(
        connection,
        uids=list(uids),
        event="RETRIED",
        reason="",
        message="a copy here was verified",
        now=now,
        channel=channel,
    )
    return ids_of(rows)
