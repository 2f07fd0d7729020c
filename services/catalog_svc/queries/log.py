"""The site's event log and the one row that orders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
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
)
# As `channel_of` says; one for each schema, because several sites may share a database.
_CHANNEL: ColumnElement[str] = func.current_schema().op("||")(literal_column("'_events'"))


def channel_of(schema: str) -> str:
    """Where `append` notifies."""
    return f"{schema}_events"


@dataclass(frozen=True, slots=True)
class Entries:
    """New events as columns of equal length; a `from_states` of None says the replica was not there."""

    types: Sequence[str]
    uids: Sequence[str]
    stores: Sequence[str]
    from_states: Sequence[int | None]
    to_states: Sequence[int]
    reasons: Sequence[str]


@cache
def _lock() -> HotStatement:
    return compile_hot(select(site_state.c.sequence).with_for_update())


async def lock(connection: Bare) -> None:
    """Waits for whoever appends; from here to the commit nobody else does, and everything that was
    published before is seen by the next statement. Taken last: nothing may be waited for under it.
    """
    await _lock().fetch(connection)


@cache
def _append() -> HotStatement:
    rows = given(
        type=Text(), uid=UID, store=Text(), before=SmallInteger(), after=SmallInteger(), reason=Text()
    )
    count = bindparam("entry_count", type_=BigInteger)
    moved = (
        update(site_state)
        .values(sequence=site_state.c.sequence + count)
        .returning((site_state.c.sequence - count).label("base"))
        .cte("moved")
    )
    written = (
        insert(events)
        .from_select(
            [column.name for column in events.c],
            select(
                *(moved.c.base + rows.c.ordinal, bindparam("now_us", type_=BigInteger), rows.c.type),
                *(rows.c.uid, rows.c.store, rows.c.before, rows.c.after, rows.c.reason),
            ).select_from(moved.join(rows, literal_column("true"))),
        )
        .cte("written")
    )
    told = func.pg_notify(_CHANNEL, cast(moved.c.base + count, Text))
    return compile_hot(select(told).select_from(moved).add_cte(written))


async def append(connection: Bare, entries: Entries, now_us: int) -> None:
    """Gives the events their places in the log and wakes whoever waits for them."""
    await _append().fetch(
        connection,
        type=entries.types,
        uid=entries.uids,
        store=entries.stores,
        before=entries.from_states,
        after=entries.to_states,
        reason=entries.reasons,
        entry_count=len(entries.uids),
        now_us=now_us,
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
    return compile_hot(select(site_state.c.epoch, site_state.c.sequence))


async def head(connection: Bare) -> tuple[int, int]:
    """The epoch, and the sequence of the last event."""
    row = await _head().fetchrow(connection)
    assert row is not None
    return row[0], row[1]


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
