"""Every statement of route and transfer calls made by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Text,
    and_,
    any_,
    bindparam,
    case,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare
from transfer_svc.sending.changes import (
    NOW,
    columns_of,
    constant,
    in_state,
    log_constant,
    told,
)
from transfer_svc.sending.lifecycle import BATCHED, LIVE, TransferState
from transfer_svc.sending.ranking import HEAD_START_SECONDS
from transfer_svc.sending.tables import routes, transfer_log, transfers
from transfer_svc.sending.values import ROUTE_COLUMNS, TRANSFER_COLUMNS, LogEntry, Route, Transfer

_S = TransferState
_ROUTE = columns_of(routes, ROUTE_COLUMNS)
_TRANSFER = columns_of(transfers, TRANSFER_COLUMNS)
_in_use = not_(routes.c.removed)


async def insert_route(connection: AsyncConnection, route: Route) -> bool:
    """Whether there was none like it."""
    values = {name: getattr(route, name) for name in ROUTE_COLUMNS}
    statement = insert(routes).values(values).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1


async def list_routes(connection: AsyncConnection) -> list[Route]:
    statement = select(*_ROUTE).where(_in_use).order_by(routes.c.destination, routes.c.route_id)
    return [Route(*row) for row in await connection.execute(statement)]


async def get_route(connection: AsyncConnection, route_id: str) -> Route | None:
    """Locked, to be changed."""
    statement = select(*_ROUTE).where(_in_use, routes.c.route_id == route_id).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Route(*row)


async def update_route(connection: AsyncConnection, route_id: str, values: dict[str, Any]) -> None:
    await connection.execute(update(routes).where(routes.c.route_id == route_id).values(values))


@dataclass(frozen=True, slots=True)
class Selection:
    """By id, or by the other fields together. A name matches one of `name_regexes`. `name_regex` and
    `limit_regex`, the caller's own, match all where they are empty, and so do no `name_regexes`.
    """

    ids: Sequence[str] = ()
    destination: str = ""
    name_regex: str = ""
    route_id: str = ""
    limit_regex: str = ""
    name_regexes: Sequence[str] = ()

    def clause(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [true()]
        if self.ids:
            conditions.append(transfers.c.transfer_id == any_(bindparam("ids", list(self.ids), ARRAY(Text))))
        if self.destination:
            conditions.append(transfers.c.destination == self.destination)
        if self.route_id:
            conditions.append(transfers.c.route_id == self.route_id)
        if self.name_regexes:
            regexes = bindparam("name_regexes", list(self.name_regexes), ARRAY(Text))
            conditions.append(transfers.c.name.op("~")(any_(regexes)))
        conditions += [
            transfers.c.name.op("~")(regex) for regex in (self.name_regex, self.limit_regex) if regex
        ]
        return and_(*conditions)


def _changing(
    selection: Selection, states: Sequence[TransferState], values: dict[str, Any], after: Any
) -> Any:
    written = (
        update(transfers)
        .values(update_time=NOW, **values)
        .where(locked(transfers, in_order(transfers, selection.clause(), in_state(*states))))
        .returning(transfers.c.transfer_id, transfers.c.batch_id, transfers.c.state)
        .cte("written")
    )
    held = func.string_agg(written.c.batch_id.distinct(), ",")
    notified = told(written).add_cte(log_constant(written, after if after is not None else written.c.state))
    counted = notified.subquery("counted")
    return select(
        select(func.count()).select_from(written).scalar_subquery().label("changed"),
        select(held).scalar_subquery().label("batch_ids"),
        select(func.count()).select_from(counted).scalar_subquery(),
    )


async def _change(
    connection: AsyncConnection,
    statement: Any,
    *,
    event: str,
    message: str,
    now: datetime,
    channel: str,
) -> tuple[int, str]:
    parameters = {"event": event, "reason": "", "message": message, "now": now, "channel": channel}
    row = (await connection.execute(statement, parameters)).one()
    return int(row.changed), row.batch_ids or ""


async def retry(
    connection: AsyncConnection, selection: Selection, message: str, *, now: datetime, channel: str
) -> int:
    """HELD, FAILED and CANCELLED ones, and what was put off: QUEUED, now. One whose dataset has another
    active transfer there, or whose route is gone, stays as it is.
    """
    values = {
        "state": constant(_S.QUEUED),
        "state_time": case((transfers.c.state == _S.QUEUED, transfers.c.state_time), else_=NOW),
        "not_before": None,
        "batch_id": None,
        "attempt_count": 0,
    }
    other = transfers.alias("other")
    alone = not_(
        select(other.c.transfer_id)
        .where(
            other.c.dataset_uid == transfers.c.dataset_uid,
            other.c.destination == transfers.c.destination,
            other.c.destination_kind == transfers.c.destination_kind,
            other.c.way == transfers.c.way,
            other.c.transfer_id != transfers.c.transfer_id,
            other.c.state.in_([constant(state) for state in (*LIVE, _S.HELD)]),
        )
        .exists()
    )
    waiting = and_(in_state(_S.QUEUED), transfers.c.not_before.is_not(None))
    routed = select(routes.c.route_id).where(_in_use, routes.c.route_id == transfers.c.route_id).exists()
    ended = and_(in_state(_S.HELD, _S.FAILED, _S.CANCELLED), alone, routed)
    written = (
        update(transfers)
        .values(update_time=NOW, **values)
        .where(locked(transfers, in_order(transfers, selection.clause(), or_(waiting, ended))))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    notified = told(written).add_cte(log_constant(written, constant(_S.QUEUED))).subquery("counted")
    statement = select(
        select(func.count()).select_from(written).scalar_subquery().label("changed"),
        select(func.count()).select_from(notified).scalar_subquery(),
    )
    parameters = {"event": "RETRIED", "reason": "", "message": message, "now": now, "channel": channel}
    return int((await connection.execute(statement, parameters)).one().changed)


async def cancel(
    connection: AsyncConnection,
    selection: Selection,
    message: str,
    *,
    now: datetime,
    channel: str,
    states: Sequence[TransferState] = (*LIVE, _S.HELD, _S.FAILED),
) -> tuple[int, str]:
    """How many, and the batches they are in, joined by commas: these withdraw them."""
    values = {"state": constant(_S.CANCELLED), "state_time": NOW, "not_before": None}
    statement = _changing(selection, states, values, constant(_S.CANCELLED))
    return await _change(connection, statement, event="CANCELLED", message=message, now=now, channel=channel)


async def prioritize(
    connection: AsyncConnection,
    selection: Selection,
    priority: int,
    message: str,
    *,
    now: datetime,
    channel: str,
) -> int:
    """What has not begun; its rank as `ranking.rank` has it."""
    rank = func.extract("epoch", transfers.c.plan_time) - priority * HEAD_START_SECONDS
    states = (_S.PLANNED, _S.QUEUED, _S.HELD)
    statement = _changing(selection, states, {"priority": priority, "rank": rank}, None)
    count, _ = await _change(
        connection, statement, event="PRIORITIZED", message=message, now=now, channel=channel
    )
    return count


_FETCH = compile_hot(
    select(*_TRANSFER).where(transfers.c.transfer_id == any_(bindparam("ids", type_=ARRAY(Text))))
)
_OF_DATASET = compile_hot(
    select(*_TRANSFER)
    .where(transfers.c.dataset_uid == bindparam("uid"))
    .order_by(transfers.c.transfer_id.desc())
    .limit(100)
)
_LOG = compile_hot(
    select(
        *columns_of(transfer_log, ("time", "state", "event", "reason", "message")), transfer_log.c.transfer_id
    )
    .where(transfer_log.c.transfer_id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(transfer_log.c.log_id)
)


async def fetch(connection: Bare, ids: Sequence[str]) -> dict[str, Transfer]:
    return {row["transfer_id"]: Transfer(*row) for row in await _FETCH.fetch(connection, ids=list(ids))}


async def of_dataset(connection: Bare, uid: str) -> list[Transfer]:
    """Newest first."""
    return [Transfer(*row) for row in await _OF_DATASET.fetch(connection, uid=uid)]


async def logs_of(connection: Bare, ids: Sequence[str]) -> dict[str, list[LogEntry]]:
    """Oldest first, by transfer."""
    found: dict[str, list[LogEntry]] = {}
    for *entry, transfer_id in await _LOG.fetch(connection, ids=list(ids)):
        found.setdefault(transfer_id, []).append(LogEntry(*entry))
    return found


async def list_transfers(
    connection: AsyncConnection,
    selection: Selection,
    *,
    states: Sequence[int],
    dataset_uid: str,
    after: str,
    limit: int,
) -> list[Transfer]:
    """A page, newest first."""
    statement = (
        select(*_TRANSFER)
        .where(
            selection.clause(),
            transfers.c.state.in_(states) if states else true(),
            transfers.c.dataset_uid == dataset_uid if dataset_uid else true(),
            transfers.c.transfer_id < after if after else true(),
        )
        .order_by(transfers.c.transfer_id.desc())
        .limit(limit)
    )
    return [Transfer(*row) for row in await connection.execute(statement)]


_UNDER_WAY = compile_hot(
    select(*_TRANSFER)
    .where(
        in_state(*BATCHED),
        or_(bindparam("destination", type_=Text) == "", transfers.c.destination == bindparam("destination")),
    )
    .order_by(transfers.c.transfer_id)
    .limit(bindparam("limit", type_=Integer))
)
_HELD = compile_hot(
    select(*_TRANSFER)
    .where(in_state(_S.HELD))
    .order_by(transfers.c.state_time, transfers.c.transfer_id)
    .limit(bindparam("limit", type_=Integer))
)


async def under_way(connection: Bare, destination: str, limit: int) -> list[Transfer]:
    rows = await _UNDER_WAY.fetch(connection, destination=destination, limit=limit)
    return [Transfer(*row) for row in rows]


async def held(connection: Bare, limit: int) -> list[Transfer]:
    """The oldest first."""
    return [Transfer(*row) for row in await _HELD.fetch(connection, limit=limit)]


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one route's transfers in one state. `since`: the oldest's plan_time."""

    route_id: str
    destination: str
    destination_kind: int
    via: str
    state: int
    count: int
    size_bytes: int
    moved_bytes: int
    bytes_per_second: int
    since: datetime


_place = (transfers.c.route_id, transfers.c.destination, transfers.c.destination_kind, transfers.c.via)
_SUMS = compile_hot(
    select(
        *_place,
        transfers.c.state,
        func.count(),
        func.sum(transfers.c.size_bytes).cast(transfers.c.size_bytes.type),
        func.sum(transfers.c.moved_bytes).cast(transfers.c.size_bytes.type),
        func.sum(transfers.c.bytes_per_second).cast(transfers.c.size_bytes.type),
        func.min(transfers.c.plan_time),
    )
    .where(in_state(*LIVE, _S.HELD, _S.FAILED))
    .group_by(*_place, transfers.c.state)
    .order_by(transfers.c.destination, transfers.c.via, transfers.c.route_id)
)


async def sums(connection: Bare) -> list[Sums]:
    """Of what is not final: read when people ask, never by the machinery."""
    return [Sums(*row) for row in await _SUMS.fetch(connection)]
