"""What is swept, what stays, and how the process comes and goes."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from support.catalog_site import DIRECTORY, Catalog, Made, member, settings_in
from support.eventually import eventually

from catalog_svc import upkeep
from catalog_svc.__main__ import MIGRATIONS
from catalog_svc.tables import metadata
from librarian.api.catalog.v1 import catalog_pb2 as pb
from svckit.database import Database
from svckit.migrations import migrate


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background sweeps all the time, a few rows at once; before the catalog starts."""
    monkeypatch.setattr(upkeep, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(upkeep, "_BATCH", 3)


class Rows:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def count(self, table: str) -> int:
        connection = await asyncpg.connect(self._dsn)
        try:
            found: int = await connection.fetchval(f"SELECT count(*) FROM catalog.{table}")
            return found
        finally:
            await connection.close()

    async def expect(self, **counts: int) -> None:
        async def right() -> bool:
            found = {table: await self.count(table) for table in counts}
            assert found == counts
            return True

        await eventually(right)


@pytest.fixture
def rows(database_dsn: str) -> Rows:
    return Rows(database_dsn)


async def test_members_nobody_published_go_after_a_day(quick: None, catalog: Catalog, rows: Rows) -> None:
    abandoned, kept = (Made(name, kind=DIRECTORY, members=10) for name in ("abandoned", "kept"))
    late = Made("late", kind=DIRECTORY, members=10)
    for each in (abandoned, kept, late):
        await catalog.add_members(each.uid, [member(f"m{number}") for number in range(10)])
    await catalog.publish(kept)
    catalog.advance(timedelta(hours=23).total_seconds())
    assert await catalog.add_members(late.uid, [member("m0")]) == 10
    catalog.advance(timedelta(hours=2).total_seconds())
    await rows.expect(members=20, pending_members=1)
    (verdict,) = await catalog.publish(late)
    assert verdict.outcome == pb.PUBLISH_OUTCOME_PUBLISHED
    (verdict,) = await catalog.publish(abandoned)
    assert verdict.error.reason == "MEMBERS_INCOMPLETE"


async def test_refused_directories_leave_no_members_behind(quick: None, catalog: Catalog, rows: Rows) -> None:
    await catalog.publish(Made("a"))
    for name in ("a/b", "a"):
        refused = Made(name, kind=DIRECTORY, members=1)
        await catalog.add_members(refused.uid, [member("m")])
        (verdict,) = await catalog.publish(refused)
        assert verdict.outcome == pb.PUBLISH_OUTCOME_REFUSED
    catalog.advance(timedelta(days=2).total_seconds())
    await rows.expect(members=0, pending_members=0)


async def test_reservations_and_answers_go_after_a_week(quick: None, catalog: Catalog, rows: Rows) -> None:
    uids = [catalog.new_id() for _ in range(8)]
    request = pb.ReserveNamesRequest(
        request_id=catalog.new_id(), uids=uids, names=[f"n/{number}" for number in range(8)]
    )
    await catalog.stub.ReserveNames(request)
    await catalog.publish(Made("n/0", uid=uids[0]))
    await rows.expect(name_reservations=7, idempotency=2)
    catalog.advance(timedelta(days=7, minutes=1).total_seconds())
    await catalog.publish(Made("n/9"))
    await rows.expect(name_reservations=0, idempotency=1)


async def test_sums_nobody_asks_for_any_more_are_dropped(quick: None, catalog: Catalog, rows: Rows) -> None:
    await catalog.publish(Made("n/1"))
    client = await catalog.as_client(prefix="n/**")
    await client.GetSummary(pb.GetSummaryRequest())
    await rows.expect(summary_scopes=2)
    catalog.advance(timedelta(days=31).total_seconds())
    await rows.expect(summary_scopes=1)
    assert (await client.GetSummary(pb.GetSummaryRequest())).dataset_count == 1


async def test_migrations_make_the_tables_that_are_declared(database_dsn: str) -> None:
    await migrate(database_dsn, "catalog", MIGRATIONS, "auto")

    def differences(connection: Connection) -> list[Any]:
        options = {
            "compare_type": True,
            "include_object": lambda _object, name, *_: name != "alembic_version",
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with (
        Database.open(database_dsn, schema="catalog", application_name="test") as database,
        database.transaction() as connection,
    ):
        assert await connection.run_sync(differences) == []


async def test_the_process_serves_and_stops_as_asked(database_dsn: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, database_dsn)
    (tmp_path / "site.toml").write_text(
        f'[catalog]\nlisten = "{settings.catalog.listen}"\ndsn = "{database_dsn}"\n'
        f'[auth]\nkeys_dir = "{settings.auth.keys_dir}"\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "catalog_svc",
        "--config",
        str(tmp_path / "site.toml"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"service_serving" not in (line := await process.stderr.readline()):
                assert line, "it ended before it served"
            process.send_signal(signal.SIGTERM)
            log = await process.stderr.read()
            assert await process.wait() == 0, log.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
