"""Leases: rows are claimed by workers for a while, with a fence that makes a late worker's write fail.

A claim adds one to the row's fence. Whoever writes under a claim says which fence it holds; once another
has claimed the row, or it was released, the write touches nothing and StaleLease is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    Table,
    Text,
    and_,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate, Update

from librarian.errors import StaleLease
from svckit.locking import in_order, locked


@dataclass(frozen=True, slots=True)
class Lease:
    """One claimed row: the value of its primary key and the fence it was claimed with."""

    key: Any
    fence: int


def lease_columns() -> list[Column[Any]]:
    """Columns of a table whose rows are worked on. Add an index on (not_before) for the rows that wait."""
    return [
        Column("lease_owner", Text),
        Column("lease_fence", BigInteger, nullable=False, server_default=text("0")),
        Column("lease_until", DateTime(timezone=True)),
        Column("attempt_count", Integer, nullable=False, server_default=text("0")),
        Column("not_before", DateTime(timezone=True)),
    ]


def claim(
    table: Table,
    *,
    where: ColumnElement[bool],
    order_by: Sequence[ColumnElement[Any]],
    limit: int,
    owner: str,
    now: datetime,
    ttl: timedelta,
) -> ReturningUpdate[Any]:
    """Claims up to `limit` rows that are due and that nobody holds; answers them whole, as claimed.

    Rows that another claims at the same moment are passed over, so several share the work. The order of
    the answer is not that of `order_by`. `attempt_count` counts claims: a worker that dies counts too.
    """
    key = _key(table)
    due = (
        select(key)
        .where(
            where,
            or_(table.c.lease_until.is_(None), table.c.lease_until <= now),
            or_(table.c.not_before.is_(None), table.c.not_before <= now),
        )
        .order_by(*order_by)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A CTE runs once; as a subquery the planner may run it again for each row and lock too many.
        .cte("due")
    )
    return (
        update(table)
        .where(key == due.c[key.name])
        .values(
            lease_owner=owner,
            lease_fence=table.c.lease_fence + 1,
            lease_until=now + ttl,
            attempt_count=table.c.attempt_count + 1,
        )
        .returning(*table.c)
    )


def extend(table: Table, leases: Sequence[Lease], *, now: datetime, ttl: timedelta) -> ReturningUpdate[Any]:
    """Keeps leases for another `ttl`; answers the keys that are still held."""
    return _of_leases(table, leases).values(lease_until=now + ttl).returning(_key(table))


def release(
    table: Table,
    leases: Sequence[Lease],
    *,
    not_before: datetime | None = None,
    reset_attempts: bool = False,
) -> ReturningUpdate[Any]:
    """Gives leases back, to be claimed again from `not_before` on; answers the keys that were held.

    `reset_attempts`: the work went well as far as it went; what comes is not a repetition.
    """
    values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "not_before": not_before}
    if reset_attempts:
        values["attempt_count"] = 0
    return _of_leases(table, leases).values(values).returning(_key(table))


def fenced(table: Table, fence: int) -> ColumnElement[bool]:
    """The predicate of every write under a claim: nobody has claimed or released the row since."""
    return and_(table.c.lease_fence == fence, table.c.lease_owner.is_not(None))


def held(table: Table, leases: Sequence[Lease]) -> ColumnElement[bool]:
    """As `fenced`, for many rows at once."""
    pairs = tuple_(_key(table), table.c.lease_fence)
    return and_(pairs.in_([(lease.key, lease.fence) for lease in leases]), table.c.lease_owner.is_not(None))


def expect_held(touched_count: int, what: str, *, expected: int = 1) -> None:
    """Raises StaleLease where a guarded write touched fewer rows than it should have."""
    if touched_count < expected:
        raise StaleLease(f"{what} was taken over by another worker; what this one did since is void")


def _of_leases(table: Table, leases: Sequence[Lease]) -> Update:
    return update(table).where(locked(table, in_order(table, held(table, leases))))


def _key(table: Table) -> Column[Any]:
    (key,) = table.primary_key.columns
    return key
