"""The event log: in order, without gaps, as pages and as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from support.catalog_site import Catalog, Made, running

from catalog_svc import watching
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import CursorOfAnotherEpoch, DatasetNotFound, Unavailable


async def page(catalog: Catalog, after: pb.EventCursor | None, size: int) -> pb.ListEventsResponse:
    return await catalog.stub.ListEvents(pb.ListEventsRequest(after=after, page_size=size))


@asynccontextmanager
async def watching_after(
    catalog: Catalog, after: pb.EventCursor | None = None
) -> AsyncIterator[Callable[[], Awaitable[pb.WatchEventsResponse]]]:
    """A function that answers what the watch says next."""
    stream = aiter(catalog.stub.WatchEvents(pb.WatchEventsRequest(after=after)))
    async with aclosing(stream):
        yield lambda: asyncio.wait_for(anext(stream), 20)


def names(answer: pb.WatchEventsResponse) -> list[str]:
    return [event.dataset_name for event in answer.events]


async def test_pages_go_on_where_the_last_ended(catalog: Catalog) -> None:
    wanted = [f"n/{number}" for number in range(7)]
    for name in wanted:
        await catalog.publish(Made(name))
    cursor, found = None, []
    for size in (3, 3, 3):
        answer = await page(catalog, cursor, size)
        found += [event.dataset_name for event in answer.events]
        cursor = answer.next
    assert found == wanted
    assert (await page(catalog, cursor, 3)).next == cursor


async def test_an_empty_log_has_a_cursor_too(catalog: Catalog) -> None:
    answer = await page(catalog, None, 10)
    assert not answer.events
    assert answer.next.epoch > 0
    assert answer.next.sequence == 0


async def test_events_of_one_dataset(catalog: Catalog) -> None:
    one, two = Made("a/1"), Made("a/2")
    await catalog.publish(one, two)
    await catalog.register([Made("a/1")], store="disk")
    assert [event.type for event in await catalog.events(dataset_uid=one.uid)] == [
        "DATASET_PUBLISHED",
        "REPLICA_ADDED",
    ]
    assert await catalog.events(dataset_uid=catalog.new_id()) == []
    with pytest.raises(DatasetNotFound):
        await catalog.events(dataset_uid="junk")


async def test_a_limited_token_sees_only_its_own_and_goes_on(catalog: Catalog) -> None:
    await catalog.publish(Made("lat/1"), Made("satp3/1"), Made("lat/2"))
    client = await catalog.as_client(prefix="satp3/**")
    answer = await client.ListEvents(pb.ListEventsRequest())
    assert [event.dataset_name for event in answer.events] == ["satp3/1"]
    assert answer.next.sequence == 3


async def test_cursors_of_another_log_are_refused(catalog: Catalog) -> None:
    await catalog.publish(Made("a"))
    here = (await page(catalog, None, 10)).next
    for epoch, sequence in ((here.epoch - 1, 0), (here.epoch + 1, 1), (here.epoch, here.sequence + 1)):
        cursor = pb.EventCursor(epoch=epoch, sequence=sequence)
        with pytest.raises(CursorOfAnotherEpoch):
            await page(catalog, cursor, 10)
        async with watching_after(catalog, cursor) as said_next:
            with pytest.raises(CursorOfAnotherEpoch):
                await said_next()


async def test_eight_writers_leave_no_gap_and_a_follower_misses_nothing(catalog: Catalog) -> None:
    async def write(writer: int) -> None:
        for number in range(25):
            await catalog.publish(*(Made(f"w{writer}/{number}/{each}") for each in range(3)))

    async def follow() -> list[int]:
        seen: list[int] = []
        async for answer in catalog.stub.WatchEvents(pb.WatchEventsRequest()):
            seen += [event.cursor.sequence for event in answer.events]
            if len(seen) >= 600:
                break
        return seen

    async with asyncio.timeout(60):
        follower = asyncio.create_task(follow())
        await asyncio.gather(*map(write, range(8)))
        assert await follower == list(range(1, 601))
    assert len({event.dataset_name for event in await catalog.events()}) == 600


async def test_a_refused_publication_takes_no_place_in_the_log(catalog: Catalog) -> None:
    await catalog.publish(Made("a/b"))
    await catalog.publish(Made("a"), Made("a/b", content="other"))
    await catalog.publish(Made("c"))
    assert [event.cursor.sequence for event in await catalog.events()] == [1, 2]


async def test_a_watch_tells_at_once_what_happens(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_SECONDS", 3600.0)
    await catalog.publish(Made("before"))
    async with watching_after(catalog) as said_next:
        first = await said_next()
        assert names(first) == ["before"]
        await catalog.publish(Made("during"))
        second = await said_next()
        assert names(second) == ["during"]
    async with watching_after(catalog, first.next) as said_next:
        assert await said_next() == second


async def test_without_notifications_the_timer_tells(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, database_dsn: str
) -> None:
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    async with watching_after(catalog) as said_next:
        waiting = asyncio.create_task(said_next())
        connection = await asyncpg.connect(database_dsn)
        try:
            # The row alone, as if the hint had been lost.
            await connection.execute(
                "WITH d AS (INSERT INTO catalog.datasets VALUES (gen_random_uuid(), 'x', 'x', 1, 1, 'sha256',"
                " '', 0, 1, 0, 0, '', '', '') RETURNING uid) INSERT INTO catalog.events"
                " SELECT 1, 0, 'DATASET_PUBLISHED', uid, 'main', NULL, 2, '' FROM d"
            )
        finally:
            await connection.close()
        assert names(await waiting) == ["x"]


async def test_silence_is_broken_by_heartbeats(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watching.HEARTBEAT_SECONDS + watching.POLL_SECONDS <= 20.0
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.02)
    await catalog.publish(Made("a"))
    async with watching_after(catalog) as said_next:
        first = await said_next()
        catalog.advance(watching.HEARTBEAT_SECONDS)
        beat = await said_next()
    assert not beat.events
    assert beat.next == first.next


async def test_a_stopping_service_ends_its_watches(catalog: Catalog) -> None:
    await catalog.publish(Made("a"))
    async with watching_after(catalog) as said_next:
        await said_next()
        waiting = asyncio.create_task(said_next())
        catalog.runtime.stopping.set()
        with pytest.raises(Unavailable, match="stopping"):
            await waiting


async def test_a_restart_keeps_the_epoch_and_a_restored_database_gets_a_new_one(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path) as catalog:
        await catalog.publish(Made("a"))
        cursor = (await page(catalog, None, 10)).next
    async with running(database_dsn, tmp_path) as catalog:
        assert (await page(catalog, cursor, 10)).next == cursor
    connection = await asyncpg.connect(database_dsn)
    try:
        # What loading a dump leaves behind: the same rows in new tables.
        await connection.execute(
            "SET search_path = catalog; CREATE TABLE copy (LIKE events INCLUDING ALL);"
            "INSERT INTO copy SELECT * FROM events; DROP TABLE events; ALTER TABLE copy RENAME TO events"
        )
    finally:
        await connection.close()
    async with running(database_dsn, tmp_path) as catalog:
        with pytest.raises(CursorOfAnotherEpoch):
            await page(catalog, cursor, 10)
        again = await page(catalog, None, 10)
        assert again.next.epoch > cursor.epoch
        assert [event.dataset_name for event in again.events] == ["a"]
