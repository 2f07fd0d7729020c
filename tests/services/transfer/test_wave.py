"""A long queue costs no more a dataset than a short one: counted in blocks of the database, not in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from svckit.database import Database
from svckit.migrations import migrate
from transfer_svc.app import MIGRATIONS
from transfer_svc.sending import batch_queries, plan_queries, route_queries
from transfer_svc.sending.batch_queries import Limits
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.plan_queries import Plan
from transfer_svc.sending.values import DestinationKind, Route

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TTL = timedelta(hours=1)
PAGE = 1000
ROUTE = Route(
    route_id="r",
    destination="there",
    destination_kind=int(DestinationKind.PEER),
    name_glob="**",
    tags_json="",
    via="stream",
    priority=0,
    max_active=1_000_000,
    max_bytes_per_second=0,
    landing="",
    through="",
    paused=False,
    create_time=NOW,
    backfill_state=1,
    backfill_token="",
    backfilled_count=0,
)
LIMITS = Limits(max_items=100, max_bytes=1 << 50, moving_batches=1_000_000, open_batches=1_000_000)
_BLOCKS = text(
    "SELECT coalesce(sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit), 0)::bigint"
    " FROM pg_statio_user_tables WHERE schemaname = 'transfer'"
)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    await migrate(database_dsn, "transfer", MIGRATIONS, "auto")
    async with Database.open(database_dsn, schema="transfer", application_name="test") as database:
        yield database


class Queue:
    """Counts what planning and claiming touch, in one session whose statistics are told at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._planned = 0
        self._claimed = 0

    async def plan(self, count: int) -> float:
        """Blocks touched for each dataset that is planned."""
        before = await self._blocks()
        async with self._database.transaction() as connection:
            place = await plan_queries.claim(connection, owner="w", now=NOW + self._planned * TTL, ttl=TTL)
        assert place is not None
        for start in range(self._planned, self._planned + count, PAGE):
            numbers = range(start, min(start + PAGE, self._planned + count))
            plans = [
                Plan(f"t{n:07}", ROUTE, f"u{n:07}", f"obs/{n:07}", 1, 5, TransferState.QUEUED, float(n))
                for n in numbers
            ]
            async with self._database.hot() as hot:
                assert len(await plan_queries.write_plans(hot, place, plans, now=NOW, channel="c")) == len(
                    plans
                )
        self._planned += count
        return (await self._blocks() - before) / count

    async def claim(self, batches: int) -> float:
        """Blocks touched for each dataset that is taken into a batch."""
        before = await self._blocks()
        taken = 0
        for _ in range(batches):
            async with self._database.hot() as hot:
                due = await batch_queries.find_due(hot, NOW)
            assert due.route_ids == ["r"]
            self._claimed += 1
            async with self._database.transaction() as connection:
                found = await batch_queries.claim_queued(
                    connection,
                    ROUTE,
                    LIMITS,
                    batch_id=f"b{self._claimed}",
                    owner="w",
                    now=NOW,
                    ttl=TTL,
                    channel="c",
                )
            assert found is not None
            taken += len(found[1])
        assert taken == batches * LIMITS.max_items
        return (await self._blocks() - before) / taken

    async def all_arrive(self) -> None:
        """What was claimed is done, and the database swept, so that the next claims find the same but for the
        queue.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                text("UPDATE transfers SET state = :verified WHERE state = :offered"),
                {"verified": int(TransferState.VERIFIED), "offered": int(TransferState.OFFERED)},
            )
            await connection.execute(text("UPDATE batches SET done = true, moving = false"))
        async with self._database.hot() as hot:
            await hot.fetch("VACUUM ANALYZE transfers")
            await hot.fetch("VACUUM ANALYZE batches")

    async def _blocks(self) -> int:
        """All sessions' counts are in it: each tells its own when it next does nothing."""
        async with self._database.hot() as hot:
            await hot.fetch("SELECT pg_stat_force_next_flush()")
        async with self._database.transaction() as connection:
            await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        async with self._database.transaction() as connection:
            return int((await connection.execute(_BLOCKS)).scalar_one())


async def test_a_wave_of_a_hundred_thousand_costs_no_more_each(database: Database) -> None:
    async with database.transaction() as connection:
        await route_queries.insert_route(connection, ROUTE)
    queue = Queue(database)
    await queue.plan(2 * PAGE)
    few = await queue.plan(2 * PAGE), await queue.claim(10)
    await queue.plan(100_000)
    await queue.all_arrive()
    many = await queue.plan(2 * PAGE), await queue.claim(10)
    print(f"blocks a dataset, planned and claimed: {few} of few, {many} of many")
    assert many[0] <= 1.5 * few[0]
    assert many[1] <= 1.5 * few[1]
