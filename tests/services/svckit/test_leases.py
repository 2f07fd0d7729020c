"""Leases against a real PostgreSQL: sharing, fences, expiry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, text, true, update

from librarian.errors import StaleLease
from svckit.database import Database
from svckit.leases import Lease, claim, expect_held, extend, fenced, lease_columns, release

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=30)

metadata = MetaData()
jobs = Table(
    "jobs", metadata, Column("id", Integer, primary_key=True), Column("state", Text), *lease_columns()
)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(database_dsn, schema="kit", pool_size=4, application_name="t") as opened:
        async with opened.transaction() as connection:
            await connection.execute(text("CREATE SCHEMA kit"))
            await connection.run_sync(metadata.create_all)
            await connection.execute(insert(jobs), [{"id": i, "state": "new"} for i in range(1, 11)])
        yield opened


async def take(
    database: Database, owner: str, *, limit: int = 100, now: datetime = NOW, where: Any = None
) -> dict[int, Lease]:
    wanted = jobs.c.state == "new" if where is None else where
    statement = claim(jobs, where=wanted, order_by=[jobs.c.id], limit=limit, owner=owner, now=now, ttl=TTL)
    async with database.transaction() as connection:
        return {row.id: Lease(row.id, row.lease_fence) for row in await connection.execute(statement)}


async def finish(database: Database, lease: Lease) -> None:
    """A write as a worker makes it."""
    async with database.transaction() as connection:
        statement = update(jobs).where(jobs.c.id == lease.key, fenced(jobs, lease.fence)).values(state="done")
        expect_held((await connection.execute(statement)).rowcount, f"job {lease.key}")


async def state(database: Database, key: int) -> Any:
    async with database.transaction() as connection:
        return (await connection.execute(select(jobs).where(jobs.c.id == key))).one()


async def test_a_claim_takes_in_order_and_up_to_the_limit(database: Database) -> None:
    assert sorted(await take(database, "w1", limit=3)) == [1, 2, 3]
    assert sorted(await take(database, "w2", limit=3)) == [4, 5, 6]
    row = await state(database, 1)
    assert (row.lease_owner, row.lease_fence, row.attempt_count) == ("w1", 1, 1)
    assert row.lease_until == NOW + TTL


async def test_two_at_the_same_moment_share(database: Database) -> None:
    """Neither waits for the other: while one's claim is not committed, the other takes what is left."""
    first = claim(jobs, where=true(), order_by=[jobs.c.id], limit=4, owner="w1", now=NOW, ttl=TTL)
    async with database.transaction() as connection:
        one = {row.id for row in await connection.execute(first)}
        async with asyncio.timeout(5):
            other = set(await take(database, "w2", limit=4))
    assert one == {1, 2, 3, 4}
    assert other == {5, 6, 7, 8}


async def test_many_claimers_take_everything_once(database: Database) -> None:
    taken = await asyncio.gather(*(take(database, f"w{i}", limit=3) for i in range(4)))
    keys = [key for lot in taken for key in lot]
    assert sorted(keys) == sorted(set(keys))
    rest = await take(database, "last")
    assert sorted([*keys, *rest]) == list(range(1, 11))


async def test_an_expired_lease_is_taken_over_and_the_stale_worker_refused(database: Database) -> None:
    (old,) = (await take(database, "slow", limit=1)).values()
    later = NOW + TTL + timedelta(seconds=1)
    (new,) = (await take(database, "quick", limit=1, now=later)).values()
    assert (new.key, new.fence) == (old.key, old.fence + 1)
    with pytest.raises(StaleLease, match="job 1 was taken over"):
        await finish(database, old)
    assert (await state(database, 1)).state == "new"
    await finish(database, new)
    assert (await state(database, 1)).state == "done"
    assert (await state(database, 1)).attempt_count == 2


async def test_a_late_worker_nobody_replaced_may_still_finish(database: Database) -> None:
    (lease,) = (await take(database, "slow", limit=1)).values()
    await finish(database, lease)


async def test_after_a_release_nothing_more_may_be_written(database: Database) -> None:
    (lease,) = (await take(database, "w1", limit=1)).values()
    async with database.transaction() as connection:
        await connection.execute(release(jobs, [lease]))
    with pytest.raises(StaleLease):
        await finish(database, lease)


async def test_a_heartbeat_keeps_what_is_still_held(database: Database) -> None:
    leases = await take(database, "w1", limit=3)
    later = NOW + TTL + timedelta(seconds=1)
    await take(database, "w2", limit=1, now=later)
    async with database.transaction() as connection:
        statement = extend(jobs, list(leases.values()), now=later, ttl=TTL)
        kept = {row.id for row in await connection.execute(statement)}
    assert kept == {2, 3}
    assert (await state(database, 2)).lease_until == later + TTL
    assert sorted(await take(database, "w3", limit=3, now=later)) == [4, 5, 6]


async def test_a_released_row_waits_until_it_is_due(database: Database) -> None:
    (lease,) = (await take(database, "w1", limit=1)).values()
    due = NOW + timedelta(seconds=60)
    async with database.transaction() as connection:
        released = await connection.execute(release(jobs, [lease], not_before=due))
        assert [row.id for row in released] == [1]
    assert 1 not in await take(database, "w2")
    again = await take(database, "w3", now=due, where=jobs.c.id == 1)
    assert again[1].fence == lease.fence + 1


async def test_attempts_count_until_they_are_reset(database: Database) -> None:
    only = jobs.c.id == 1
    for expected in (1, 2, 3):
        (lease,) = (await take(database, "w", where=only)).values()
        assert (await state(database, 1)).attempt_count == expected
        async with database.transaction() as connection:
            await connection.execute(release(jobs, [lease], reset_attempts=expected == 3))
    assert (await state(database, 1)).attempt_count == 0


async def test_rows_that_are_not_wanted_are_left(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(jobs).where(jobs.c.id <= 8).values(state="done"))
    assert sorted(await take(database, "w")) == [9, 10]
    assert await take(database, "w2") == {}
