"""The site's event log and the one row that orders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    SmallInteger,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import TableValuedAlias

from catalog_svc.eventtypes import DATASET_PUBLISHED
from catalog_svc.lifecycle import ReplicaState
from catalog_svc.reports import Happening
from catalog_svc.tables import datasets, events, site_state
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, Rows, as_text, given

# In the order that `messages.event_message` takes them.
EVENT = (
    events.c.sequence,
    events.c.time_us,
    events.c.type,
    as_text(events.c.dataset_uid).label("uid_text"),
    datasets.c.name,
    events.c.store,
    events.c.from_state,
    events.c.to_state,
    events.c.reason,
    events.c.details,
)
_APPENDED = ("sequence", "time_us", "dataset_uid", "type", "store", "from_state", "to_state", "reason")
# As `channel_of` says; one for each schema, because several sites may share a database.
_CHANNEL: ColumnElement[str] = func.current_schema().op("||")(literal_column("'_events'"))


def channel_of(schema: str) -> str:
    """Where `append` notifies."""
    return f"{schema}_events"


@cache
def _lock() -> HotStatement:
    return compile_hot(select(site_state.c.sequence).with_for_update())


async def lock(connection: Bare) -> None:
    """Waits for whoever appends; from here to the commit nobody else does, and everything that was
    published before is seen by the next statement. Taken last: nothing may be waited for under it.
    """
    await _lock().fetch(connection)


def appending(
    rows: TableValuedAlias, *content: ColumnElement[Any], details: ColumnElement[str] | None = None
) -> tuple[Select[Any], CTE]:
    """`content`: type, store, from_state, to_state and reason of the events whose uids `rows` holds.

    The statement, and its part whose `base` is the sequence before the first of them.
    """
    count = bindparam("entry_count", type_=BigInteger)
    moved = (
        update(site_state)
        .values(sequence=site_state.c.sequence + count)
        .returning((site_state.c.sequence - count).label("base"))
        .cte("moved")
    )
    place, now = moved.c.base + rows.c.ordinal, bindparam("now_us", type_=BigInteger)
    written = (
        insert(events)
        .from_select(
            [*_APPENDED, *([] if details is None else ["details"])],
            select(place, now, rows.c.uid, *content, *([] if details is None else [details])).select_from(
                moved.join(rows, literal_column("true"))
            ),
        )
        .cte("written")
    )
    told = func.pg_notify(_CHANNEL, cast(moved.c.base + count, Text))
    return select(told).select_from(moved).add_cte(written), moved


def _append(rows: TableValuedAlias, *content: ColumnElement[Any]) -> HotStatement:
    statement, _ = appending(rows, *content)
    return compile_hot(statement)


@cache
def _append_any() -> HotStatement:
    rows = given(
        uid=UID, type=Text(), store=Text(), before=SmallInteger(), after=SmallInteger(), reason=Text()
    )
    return _append(rows, rows.c.type, rows.c.store, rows.c.before, rows.c.after, rows.c.reason)


async def append(connection: Bare, happenings: Sequence[Happening], now_us: int) -> None:
    """Gives events their places in the log and wakes whoever waits for them."""
    await _append_any().fetch(
        connection,
        uid=[each.key[0] for each in happenings],
        type=[each.type for each in happenings],
        store=[each.key[1] for each in happenings],
        before=[each.before for each in happenings],
        after=[each.after for each in happenings],
        reason=[each.reason for each in happenings],
        entry_count=len(happenings),
        now_us=now_us,
    )


@cache
def _append_publications() -> HotStatement:
    rows = given(uid=UID, store=Text())
    published: ColumnElement[str] = literal_column(f"'{DATASET_PUBLISHED}'")
    available: ColumnElement[int] = literal_column(str(ReplicaState.AVAILABLE.value))
    nothing: ColumnElement[int | None] = literal_column("NULL::smallint")
    return _append(rows, published, rows.c.store, nothing, available, literal_column("''"))


async def append_publications(
    connection: Bare, uids: Sequence[str], stores: Sequence[str], now_us: int
) -> None:
    """The same for datasets that became visible, each with the replica on its store."""
    await _append_publications().fetch(
        connection, uid=uids, store=stores, entry_count=len(uids), now_us=now_us
    )


@cache
def _read(*, of_dataset: bool) -> HotStatement:
    conditions = [events.c.sequence > bindparam("after", type_=BigInteger)]
    if of_dataset:
        conditions.append(events.c.dataset_uid == bindparam("uid", type_=UID))
    joined = events.join(datasets, datasets.c.uid == events.c.dataset_uid)
    statement = select(*EVENT).select_from(joined).where(*conditions).order_by(events.c.sequence)
    return compile_hot(statement.limit(bindparam("row_limit", type_=Integer)))


async def read(connection: Bare, after: int, limit: int, uid: str = "") -> Rows:
    """The next events after a sequence, of all datasets or of one."""
    if uid:
        return await _read(of_dataset=True).fetch(connection, after=after, row_limit=limit, uid=uid)
    return await _read(of_dataset=False).fetch(connection, after=after, row_limit=limit)


@cache
def _head() -> HotStatement:
    last = select(events.c.time_us).where(events.c.sequence == site_state.c.sequence).scalar_subquery()
    then = (
        select(events.c.time_us)
        .where(events.c.sequence == bindparam("sequence", type_=BigInteger))
        .scalar_subquery()
    )
    return compile_hot(
        select(
            site_state.c.epoch,
            site_state.c.sequence,
            func.coalesce(last, 0).label("time_us"),
            func.coalesce(then, 0).label("then_us"),
        )
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log; `time_us`: of the last event. `then_us`: of the event that was asked about."""

    epoch: int
    sequence: int
    time_us: int
    then_us: int


async def head(connection: Bare, sequence: int = 0) -> Head:
    """`sequence`: of an event whose time is wanted too."""
    row = await _head().fetchrow(connection, sequence=sequence)
    assert row is not None
    return Head(*row)


# Another cluster, another timeline of it (a recovery to a point in time, a fail-over), or tables that
# were loaded again: the log may have lost its end, and cursors given out before may point past it.
_INCARNATION = """
SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                 left(pg_walfile_name(pg_current_wal_lsn()), 8), CAST(CAST('events' AS regclass) AS oid))
"""


async def incarnation(connection: Bare) -> str:
    """Which copy of the database this is; changes with every restore."""
    return str(await connection.fetchval(_INCARNATION))


@cache
def _begin_epoch() -> HotStatement:
    incarnation = bindparam("incarnation", type_=Text)
    now_s = bindparam("now_s", type_=BigInteger)
    return compile_hot(
        update(site_state)
        .where(site_state.c.incarnation != incarnation)
        .values(incarnation=incarnation, epoch=func.greatest(site_state.c.epoch + 1, now_s))
        .returning(site_state.c.epoch)
    )


async def begin_epoch(connection: Bare, incarnation: str, now_s: int) -> int | None:
    """A new epoch, where this copy of the database has none of its own yet; else None.

    Epochs are seconds since 1970, so that a log begun anew has one that was never used.
    """
    row = await _begin_epoch().fetchrow(connection, incarnation=incarnation, now_s=now_s)
    return None if row is None else int(row[0])
