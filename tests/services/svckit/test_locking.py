"""Rows of a statement of many are locked in one order, whatever its plan and the order they are given in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, any_, delete, insert, literal, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from support.eventually import eventually
from support.lock_order import check_locks_in_order, is_waited_for

from svckit import leases
from svckit.database import Database
from svckit.locking import in_order, locked

metadata = MetaData()
jobs = Table(
    "jobs", metadata, Column("id", Integer, primary_key=True), Column("state", Text), *leases.lease_columns()
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
# As they lie in the table, and as they are given.
IDS = [5, 3, 4, 1, 2]


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(database_dsn, schema="kit", pool_size=4, application_name="t") as opened:
        async with opened.transaction() as connection:
            await connection.execute(text("CREATE SCHEMA kit"))
            await connection.run_sync(metadata.create_all)
            for number in IDS:
                await connection.execute(insert(jobs), {"id": number, "state": "new", "lease_owner": "w"})
        yield opened


def chosen(*, deleting: bool = False) -> Any:
    these = jobs.c.id == any_(literal(IDS, ARRAY(Integer)))
    return locked(jobs, in_order(jobs, these, deleting=deleting))


async def test_an_update(database: Database) -> None:
    async def run(connection: AsyncConnection) -> None:
        assert (await connection.execute(update(jobs).where(chosen()).values(state="old"))).rowcount == 5

    await check_locks_in_order(database, jobs.c.id, IDS, run)


async def test_a_delete(database: Database) -> None:
    async def run(connection: AsyncConnection) -> None:
        assert (await connection.execute(delete(jobs).where(chosen(deleting=True)))).rowcount == 5

    await check_locks_in_order(database, jobs.c.id, IDS, run)


async def test_leases_kept_and_given_back(database: Database) -> None:
    held = [leases.Lease(number, 0) for number in IDS]

    async def keep(connection: AsyncConnection) -> None:
        kept = leases.extend(jobs, held, now=NOW, ttl=timedelta(minutes=1))
        assert (await connection.execute(kept)).rowcount == 5

    async def give_back(connection: AsyncConnection) -> None:
        assert (await connection.execute(leases.release(jobs, held))).rowcount == 5

    for run in (keep, give_back):
        await check_locks_in_order(database, jobs.c.id, IDS, run)


async def test_what_changed_while_it_was_waited_for_is_judged_anew(database: Database) -> None:
    """As an UPDATE by itself does."""

    async def run() -> list[int]:
        new = in_order(jobs, jobs.c.id == any_(literal(IDS, ARRAY(Integer))), jobs.c.state == "new")
        done = update(jobs).where(locked(jobs, new)).values(state="done").returning(jobs.c.id)
        async with database.transaction() as connection:
            return sorted((await connection.execute(done)).scalars())

    async with database.transaction() as other:
        await other.execute(update(jobs).where(jobs.c.id == 3).values(state="gone"))
        running = asyncio.create_task(run())
        await eventually(lambda: is_waited_for(other))
    assert await running == [1, 2, 4, 5]
