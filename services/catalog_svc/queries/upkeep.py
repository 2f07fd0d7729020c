"""What is swept when its time has passed."""

from __future__ import annotations

from functools import cache

from sqlalchemy import BigInteger, Integer, bindparam, delete, exists, func, select, tuple_

from catalog_svc.tables import datasets, members, name_reservations, pending_members
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, as_text

_LIMIT = bindparam("row_limit", type_=Integer)
_BEFORE = bindparam("before_us", type_=BigInteger)


@cache
def _sweep_reservations() -> HotStatement:
    old = (
        select(name_reservations.c.uid)
        .where(name_reservations.c.reserve_time_us < _BEFORE)
        .limit(_LIMIT)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    swept = delete(name_reservations).where(name_reservations.c.uid == old.c.uid)
    counted = swept.returning(name_reservations.c.uid).cte("swept")
    return compile_hot(select(func.count()).select_from(counted))


async def sweep_reservations(connection: Bare, before_us: int, limit: int) -> int:
    """Forgets up to `limit` reservations older than that; how many."""
    row = await _sweep_reservations().fetchrow(connection, before_us=before_us, row_limit=limit)
    assert row is not None
    return int(row[0])


@cache
def _stale_pending() -> HotStatement:
    statement = select(as_text(pending_members.c.dataset_uid)).where(pending_members.c.last_time_us < _BEFORE)
    return compile_hot(statement.limit(1).with_for_update(skip_locked=True))


async def stale_pending(connection: Bare, before_us: int) -> str | None:
    """A dataset whose members wait for its publication since before that; locked."""
    row = await _stale_pending().fetchrow(connection, before_us=before_us)
    return None if row is None else str(row[0])


@cache
def _drop_members() -> HotStatement:
    uid = bindparam("uid", type_=UID)
    key = (members.c.dataset_uid, members.c.path)
    chosen = select(*key).where(members.c.dataset_uid == uid, ~exists().where(datasets.c.uid == uid))
    dropped = delete(members).where(tuple_(*key).in_(chosen.limit(_LIMIT))).returning(members.c.path)
    return compile_hot(select(func.count()).select_from(dropped.cte("dropped")))


async def drop_members(connection: Bare, uid: str, limit: int) -> int:
    """Removes up to `limit` members of a dataset that was never published; how many."""
    row = await _drop_members().fetchrow(connection, uid=uid, row_limit=limit)
    assert row is not None
    return int(row[0])
