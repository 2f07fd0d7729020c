"""Migrations of a made-up service."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from librarian.errors import SchemaOutdated
from svckit.migrations import migrate, newest_revisions

ENV = """
from sqlalchemy import MetaData
from svckit.migrations import run_env
run_env(MetaData())
"""
REVISION = """
from alembic import op
revision: str = "{revision}"
down_revision: str | None = {down}

def upgrade():
    op.execute("CREATE TABLE {table} (n int)")
    op.execute("INSERT INTO {table} VALUES (1)")
    {more}
"""


def add_revision(scripts: Path, revision: str, down: str | None, *, more: str = "pass") -> None:
    (scripts / "versions").mkdir(exist_ok=True, parents=True)
    (scripts / "env.py").write_text(ENV)
    text = REVISION.format(
        revision=revision, down=repr(down).replace("'", '"'), table=f"t{revision}", more=more
    )
    (scripts / "versions" / f"{revision}_x.py").write_text(text)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    # A percent sign, which Alembic's configuration would expand.
    directory = tmp_path / "100%" / "migrations"
    add_revision(directory, "0001", None)
    return directory


async def tables(dsn: str, schema: str = "kit") -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        return {
            name: await connection.fetchval(f'SELECT count(*) FROM "{schema}"."{name}"')
            for name in sorted(row["tablename"] for row in names)
        }
    finally:
        await connection.close()


async def test_from_nothing_and_step_by_step(database_dsn: str, scripts: Path) -> None:
    await migrate(database_dsn, "kit", scripts, "auto")
    assert await tables(database_dsn) == {"alembic_version": 1, "t0001": 1}
    add_revision(scripts, "0002", "0001")
    await migrate(database_dsn, "kit", scripts, "auto")
    await migrate(database_dsn, "kit", scripts, "auto")
    assert await tables(database_dsn) == {"alembic_version": 1, "t0001": 1, "t0002": 1}


async def test_each_schema_has_its_own_version(database_dsn: str, scripts: Path) -> None:
    await migrate(database_dsn, "kit", scripts, "auto")
    await migrate(database_dsn, "other", scripts, "auto")
    assert await tables(database_dsn, "other") == await tables(database_dsn, "kit")


async def test_check_changes_nothing(database_dsn: str, scripts: Path) -> None:
    with pytest.raises(SchemaOutdated, match="0001"):
        await migrate(database_dsn, "kit", scripts, "check")
    assert await tables(database_dsn) == {}
    await migrate(database_dsn, "kit", scripts, "auto")
    await migrate(database_dsn, "kit", scripts, "check")


async def test_a_newer_schema_is_not_touched(database_dsn: str, scripts: Path) -> None:
    add_revision(scripts, "0002", "0001")
    await migrate(database_dsn, "kit", scripts, "auto")
    (scripts / "versions" / "0002_x.py").unlink()
    for mode in ("auto", "check"):
        with pytest.raises(SchemaOutdated):
            await migrate(database_dsn, "kit", scripts, mode)
    assert "t0002" in await tables(database_dsn)


async def test_starters_at_the_same_moment_take_turns(database_dsn: str, scripts: Path) -> None:
    """Three processes, as three replicas would start: each table is made once and nobody fails."""
    add_revision(scripts, "0002", "0001", more='op.execute("SELECT pg_sleep(0.3)")')
    code = (
        "import asyncio, sys; from pathlib import Path; from svckit.migrations import migrate;"
        "asyncio.run(migrate(sys.argv[1], 'kit', Path(sys.argv[2]), 'auto'))"
    )
    starters = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, database_dsn, str(scripts))
        for _ in range(3)
    ]
    async with asyncio.timeout(60):
        assert [await starter.wait() for starter in starters] == [0, 0, 0]
    assert await tables(database_dsn) == {"alembic_version": 1, "t0001": 1, "t0002": 1}


async def test_an_index_made_concurrently_does_not_hang(database_dsn: str, scripts: Path) -> None:
    index = 'op.execute("CREATE INDEX CONCURRENTLY i ON t0001 (n)")'
    add_revision(scripts, "0002", "0001", more=f"with op.get_context().autocommit_block(): {index}")
    async with asyncio.timeout(30):
        await asyncio.gather(*(migrate(database_dsn, "kit", scripts, "auto") for _ in range(2)))
    await migrate(database_dsn, "kit", scripts, "check")


async def test_a_failed_migration_leaves_the_one_before(database_dsn: str, scripts: Path) -> None:
    add_revision(scripts, "0002", "0001", more='op.execute("SELECT 1/0")')
    with pytest.raises(Exception, match="division by zero"):
        await migrate(database_dsn, "kit", scripts, "auto")
    assert await tables(database_dsn) == {"alembic_version": 1, "t0001": 1}
    add_revision(scripts, "0002", "0001")
    await migrate(database_dsn, "kit", scripts, "auto")


async def test_a_current_schema_is_known_without_alembic(database_dsn: str, scripts: Path) -> None:
    await migrate(database_dsn, "kit", scripts, "auto")
    code = (
        "import asyncio, sys; from pathlib import Path; from svckit.migrations import migrate;"
        "asyncio.run(migrate(sys.argv[1], 'kit', Path(sys.argv[2]), 'auto'));"
        "sys.exit('alembic' in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, database_dsn, str(scripts))
    assert await process.wait() == 0


def test_heads_are_read_from_the_scripts(scripts: Path) -> None:
    assert newest_revisions(scripts) == {"0001"}
    add_revision(scripts, "0002", "0001")
    (scripts / "versions" / "0003_plain.py").write_text("revision = '0003'\ndown_revision = '0002'\n")
    assert newest_revisions(scripts) == {"0003"}


@pytest.mark.parametrize("service", ["catalog_svc", "store_svc", "transfer_svc", "gateway"])
def test_heads_are_what_alembic_says(service: str) -> None:
    from alembic.script import ScriptDirectory

    import svckit

    scripts = Path(svckit.__path__[0]).parent / service / "migrations"
    assert newest_revisions(scripts) == set(ScriptDirectory(str(scripts)).get_heads())
