"""The statements themselves, on a real database: what they touch and what they leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from svckit.database import Database
from svckit.migrations import migrate
from transfer_svc import queries, work_queries
from transfer_svc.app import MIGRATIONS
from transfer_svc.lifecycle import IngestState
from transfer_svc.querykit import Owner
from transfer_svc.tables import metadata
from transfer_svc.values import Job, Outcome

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TTL = timedelta(seconds=30)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    await migrate(database_dsn, "transfer", MIGRATIONS, "auto")
    async with Database.open(database_dsn, schema="transfer", application_name="test") as database:
        yield database


def row(uid: str, name: str = "") -> tuple[Any, ...]:
    return (uid, name or f"n/{uid}", 1, 5, 1, "sha256", "", 0, "")


async def insert(
    database: Database, uids: Sequence[str], *, store: str = "fast", commit: bool = True
) -> None:
    async with database.hot() as connection:
        await queries.insert_ingests(
            connection,
            [row(uid) for uid in uids],
            uploader="alice",
            token_id="t",
            now=NOW,
            expire_time=LATER,
        )
    async with database.hot() as hot:
        await queries.place_ingests(hot, [(uid, "", store, "g") for uid in uids])
    if commit:
        owner = Owner("alice", everyone=False)
        async with database.hot() as connection:
            claims = [(uid, "sha256", b"d" * 32, 5, 1) for uid in uids]
            assert len(await queries.commit_ingests(connection, owner, claims, NOW)) == len(uids)


async def claim(
    database: Database,
    *,
    owner: str = "w1",
    now: datetime = NOW,
    limit: int = 500,
    state: int = IngestState.COMMITTING,
    store: str = "fast",
) -> list[Job]:
    async with database.transaction() as connection:
        return await work_queries.claim_jobs(
            connection, state=state, store=store, limit=limit, owner=owner, now=now, ttl=TTL
        )


def outcome(job: Job, state: IngestState = IngestState.STORED, **fields: Any) -> Outcome:
    return Outcome(job.ingest_id, job.lease_fence, state, attempt_count=0, not_before=NOW, **fields)


async def write(database: Database, *outcomes: Outcome, tell: bool = False) -> set[str]:
    async with database.hot() as connection:
        return await work_queries.write_outcomes(
            connection, outcomes, now=NOW, channel="transfer_final", tell=tell
        )


async def state_of(database: Database, uid: str) -> int:
    async with database.hot() as connection:
        return (await queries.fetch_ingests(connection, [uid]))[uid].state


async def test_claims_are_shared_and_never_twice(database: Database) -> None:
    await insert(database, [f"u{i}" for i in range(10)])
    first = await claim(database, owner="w1", limit=6)
    second = await claim(database, owner="w2", limit=6)
    assert (len(first), len(second)) == (6, 4)
    assert not {job.ingest_id for job in first} & {job.ingest_id for job in second}
    assert await claim(database, owner="w3") == []


async def test_a_row_locked_by_another_claim_is_passed_over(database: Database) -> None:
    await insert(database, ["a", "b"])
    async with database.transaction() as busy:
        await busy.exec_driver_sql("SELECT 1 FROM ingests WHERE ingest_id = 'a' FOR UPDATE")
        assert [job.ingest_id for job in await claim(database)] == ["b"]


async def test_a_stale_write_is_refused(database: Database) -> None:
    await insert(database, ["a", "b"])
    stale = {job.ingest_id: job for job in await claim(database, owner="w1")}
    # w1 sleeps past its lease; w2 takes over one of them.
    past = NOW + TTL
    taken = await claim(database, owner="w2", now=past, limit=1)
    (mine,) = taken
    other = "b" if mine.ingest_id == "a" else "a"
    wrote = await write(database, outcome(stale["a"]), outcome(stale["b"]))
    assert wrote == {other}
    assert await state_of(database, mine.ingest_id) == IngestState.COMMITTING
    assert await write(database, outcome(mine)) == {mine.ingest_id}


async def test_a_released_row_is_nobodys_to_write(database: Database) -> None:
    await insert(database, ["a"])
    (job,) = await claim(database)
    async with database.hot() as connection:
        await work_queries.release_jobs(connection, [job])
    assert await write(database, outcome(job)) == set()
    assert len(await claim(database)) == 1


async def test_every_write_of_a_stale_worker_is_refused(database: Database) -> None:
    await insert(database, ["a"])
    (stale,) = await claim(database, owner="w1")
    (fresh,) = await claim(database, owner="w2", now=NOW + TTL)
    stale.origin = b"forged"
    async with database.hot() as connection:
        assert await work_queries.extend_leases(connection, [stale], LATER) == set()
        assert await work_queries.keep_origins(connection, [stale]) == set()
        await work_queries.note_progress(connection, [stale], [99], NOW)
        await work_queries.release_jobs(connection, [stale])
        await work_queries.prolong_jobs(connection, [stale], LATER)
        found = (await queries.fetch_ingests(connection, ["a"]))["a"]
        assert found.verified_bytes == 0
        assert await work_queries.extend_leases(connection, [fresh], LATER) == {"a"}
        origin = await connection.fetchval("SELECT origin FROM ingests")
    assert origin is None


async def test_extending_keeps_a_lease(database: Database) -> None:
    await insert(database, ["a"])
    (job,) = await claim(database)
    async with database.hot() as connection:
        await work_queries.extend_leases(connection, [job], NOW + 2 * TTL)
    assert await claim(database, owner="w2", now=NOW + TTL) == []
    assert len(await claim(database, owner="w2", now=NOW + 2 * TTL)) == 1


async def test_who_places_first_has_placed(database: Database) -> None:
    await insert(database, ["a", "b"], commit=False)
    async with database.hot() as connection:
        # Another request took them for unplaced, too.
        assert await queries.place_ingests(connection, [("a", "", "slow", "h")]) == set()
        # After `fast` refused it, the one that knows that may move it on.
        assert await queries.place_ingests(connection, [("a", "fast", "slow", "h")]) == {"a"}
        await queries.discard_ingests(connection, [("a", "fast"), ("b", "fast")])
        assert set(await queries.fetch_ingests(connection, ["a", "b"])) == {"a"}


async def test_put_off_is_put_off(database: Database) -> None:
    await insert(database, ["a"])
    (job,) = await claim(database)
    due = NOW + timedelta(seconds=5)
    put_off = Outcome("a", job.lease_fence, IngestState.COMMITTING, attempt_count=3, not_before=due)
    await write(database, put_off)
    assert await claim(database, now=NOW + timedelta(seconds=4)) == []
    (job,) = await claim(database, now=due)
    assert job.attempt_count == 4


async def test_work_is_found_by_state_and_store(database: Database) -> None:
    async def found(now: datetime = NOW) -> set[tuple[int, str]]:
        async with database.hot() as connection:
            return set(await work_queries.find_work(connection, now))

    assert await found() == set()
    await insert(database, ["a", "b"], store="fast")
    await insert(database, ["c"], store="slow")
    await insert(database, ["d"], store="slow", commit=False)
    committing = int(IngestState.COMMITTING)
    assert await found() == {(committing, "fast"), (committing, "slow")}
    # d is OPEN: due only when it expires.
    assert (int(IngestState.OPEN), "slow") in await found(LATER)
    jobs = await claim(database)
    assert await found() == {(committing, "slow")}
    await write(database, *(outcome(job, IngestState.FAILED, keep=False) for job in jobs))
    assert (int(IngestState.FAILED), "fast") in await found()
    jobs = await claim(database, state=IngestState.FAILED)
    await write(database, *(outcome(job, IngestState.FAILED, settled=True) for job in jobs))
    assert await found() == {(committing, "slow")}


async def test_those_who_wait_are_told_every_id_in_bearable_pieces(
    database: Database, database_dsn: str
) -> None:
    uids = [f"00000000-0000-7000-8000-{i:012x}" for i in range(500)]
    await insert(database, uids)
    heard: list[str] = []
    listener = await asyncpg.connect(database_dsn)
    try:
        await listener.add_listener("transfer_final", lambda *said: heard.append(said[-1]))
        jobs = await claim(database)
        quiet = await write(database, *(outcome(job, keep=True) for job in jobs[:10]), tell=False)
        told = await write(database, *(outcome(job, keep=True) for job in jobs), tell=True)
        # Notifications come ahead of the answer of what the same connection asks next.
        await listener.fetchval("SELECT 1")
    finally:
        await listener.close()
    assert len(quiet) == 10
    assert told == set(uids)
    assert sorted(",".join(heard).split(",")) == uids
    assert len(heard) == 3


async def test_a_client_that_goes_on_takes_the_ingest_from_who_expires_it(database: Database) -> None:
    await insert(database, ["a"], commit=False)
    (expiring,) = await claim(database, state=IngestState.OPEN, now=LATER)
    async with database.hot() as connection:
        await queries.prolong_ingests(connection, ["a"], now=LATER, expire_time=LATER + TTL)
    assert await write(database, outcome(expiring, IngestState.EXPIRED, settled=True)) == set()
    assert await state_of(database, "a") == IngestState.OPEN


async def test_a_commit_takes_the_ingest_from_who_expires_it(database: Database) -> None:
    await insert(database, ["a"], commit=False)
    (expiring,) = await claim(database, state=IngestState.OPEN, now=LATER)
    async with database.hot() as connection:
        owner = Owner("alice", everyone=False)
        await queries.commit_ingests(connection, owner, [("a", "sha256", b"d" * 32, 5, 1)], LATER)
    assert await write(database, outcome(expiring, IngestState.EXPIRED, settled=True)) == set()
    assert await state_of(database, "a") == IngestState.COMMITTING


async def test_the_migrations_make_what_the_tables_say(database: Database, database_dsn: str) -> None:
    async def shape(schema: str) -> tuple[list[Any], list[str]]:
        connection = await asyncpg.connect(database_dsn)
        try:
            columns = await connection.fetch(
                "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
                "FROM information_schema.columns WHERE table_schema = $1 AND table_name <> 'alembic_version' "
                "ORDER BY 1, 2",
                schema,
            )
            indexes = await connection.fetch(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = $1 AND tablename <> 'alembic_version'",
                schema,
            )
            return [tuple(each) for each in columns], sorted(
                each["indexdef"].replace(f"{schema}.", "") for each in indexes
            )
        finally:
            await connection.close()

    async with (
        Database.open(database_dsn, schema="made", application_name="test") as made,
        made.transaction() as connection,
    ):
        await connection.exec_driver_sql("CREATE SCHEMA made")
        await connection.run_sync(metadata.create_all)
    assert await shape("transfer") == await shape("made")
