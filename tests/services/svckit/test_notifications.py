"""Bells that ring at NOTIFY."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from svckit.database import Database
from svckit.notifications import Bell, listening, notify


async def ready(bell: Bell) -> None:
    """It rings once when it begins to listen."""
    assert await bell.wait(0, 10)


async def test_a_notification_wakes_after_the_commit(database_dsn: str) -> None:
    async with (
        Database.open(database_dsn, schema="public", application_name="t") as database,
        listening(database_dsn, "kit_jobs", application_name="t") as bell,
    ):
        await ready(bell)
        mark = bell.mark()
        async with database.transaction() as connection:
            await notify(connection, "kit_jobs")
            assert not await bell.wait(mark, 0.1)
        assert await bell.wait(mark, 10)
        mark = bell.mark()
        async with database.transaction() as connection:
            await notify(connection, "kit_other")
        assert not await bell.wait(mark, 0.1)


async def test_what_rang_between_looking_and_waiting_is_not_missed() -> None:
    bell = Bell()
    mark = bell.mark()
    bell.ring()
    assert await bell.wait(mark, 0)
    assert not await bell.wait(bell.mark(), 0)


async def test_all_who_wait_are_woken() -> None:
    bell = Bell()
    waits = [asyncio.create_task(bell.wait(bell.mark(), 10)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    assert await asyncio.gather(*waits) == [True, True, True]


@pytest.mark.parametrize("seconds", [0.01])
async def test_a_lost_connection_is_made_again_and_rings(database_dsn: str, seconds: float) -> None:
    async with listening(
        database_dsn, "kit_jobs", application_name="kit-bell", reconnect_seconds=seconds
    ) as bell:
        await ready(bell)
        mark = bell.mark()
        admin = await asyncpg.connect(database_dsn)
        try:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kit-bell'"
            )
            assert await bell.wait(mark, 10)
            mark = bell.mark()
            await admin.execute("NOTIFY kit_jobs")
            assert await bell.wait(mark, 10)
        finally:
            await admin.close()


async def test_a_wait_that_is_cancelled_as_the_bell_rings_is_cancelled() -> None:
    """A loop that waits on a bell must end at a stop that comes at the same moment as a ring."""
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(bell.mark(), 30.0))
    await asyncio.sleep(0)
    bell.ring()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
