"""`python -m svckit.init roles`: logins with which each service gets into its own schema."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from support.postgres import PostgresServer

from librarian.errors import Unavailable
from svckit import init
from svckit.handout import HOLDERS, hand_out
from svckit.init import main
from svckit.provision import SCHEMAS


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    hand_out(tmp_path / "secrets")
    return tmp_path / "secrets"


@pytest.fixture
def database(postgres: PostgresServer, database_dsn: str) -> Iterator[str]:
    """Its name; the roles named for it go with it."""
    name = urlsplit(database_dsn).path.lstrip("/")
    yield name
    asyncio.run(_drop(database_dsn, name))


async def _drop(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(dsn)
    for schema in SCHEMAS:
        role = f"{database}_{schema}"
        if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await connection.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
    await connection.close()


def with_user(dsn: str, user: str) -> str:
    """Without a password, as the settings of a site in containers have it."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


async def _logged_in(dsn: str, passfile: Path) -> str:
    connection = await asyncpg.connect(dsn, passfile=passfile)
    try:
        owned = "SELECT nspname FROM pg_namespace WHERE nspowner = current_user::regrole"
        schema: str = await connection.fetchval(owned)
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {schema}.mine (n int)")
        return schema
    finally:
        await connection.close()


def test_each_service_logs_in_with_its_own_file(secrets: Path, database: str, database_dsn: str) -> None:
    for _ in range(2):
        assert main(["roles", str(secrets / "database"), "--dsn", database_dsn]) == 0
    for holder in HOLDERS:
        dsn = with_user(database_dsn, f"{database}_{holder.schema}")
        assert asyncio.run(_logged_in(dsn, secrets / holder.service / "pgpass")) == holder.schema


def test_a_changed_password_is_set(secrets: Path, database: str, database_dsn: str) -> None:
    assert main(["roles", str(secrets / "database"), "--dsn", database_dsn]) == 0
    for path in secrets.glob("*/*"):
        if path.name == "catalog.password" or path.parent.name == "catalog":
            path.unlink()
    hand_out(secrets)
    dsn, passfile = with_user(database_dsn, f"{database}_catalog"), secrets / "catalog" / "pgpass"
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(_logged_in(dsn, passfile))
    assert main(["roles", str(secrets / "database"), "--dsn", database_dsn]) == 0
    assert asyncio.run(_logged_in(dsn, passfile)) == "catalog"


def test_the_administrators_password_comes_by_the_environment_too(
    secrets: Path, database: str, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(database_dsn)
    monkeypatch.setenv("PGPASSWORD", parts.password or "")
    monkeypatch.setenv("LIBRARIAN_DATABASE_DSN", with_user(database_dsn, parts.username or ""))
    assert main(["roles", str(secrets / "database")]) == 0
    monkeypatch.delenv("PGPASSWORD")
    dsn = with_user(database_dsn, f"{database}_store")
    assert asyncio.run(_logged_in(dsn, secrets / "store" / "pgpass")) == "store"


def test_a_database_that_does_not_answer_is_told_without_its_password(
    secrets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    dsn = f"postgresql://postgres:hush@127.0.0.1:{port}/librarian"
    assert main(["roles", str(secrets / "database"), "--dsn", dsn, "--wait", "0"]) == 1
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert "hush" not in said


def test_as_a_command(secrets: Path) -> None:
    command = [sys.executable, "-m", "svckit.init", "roles", str(secrets / "database")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "LIBRARIAN_DATABASE_DSN" in ended.stderr


def test_it_waits_for_a_database_that_is_starting(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([Unavailable("not yet"), Unavailable("not yet"), ["librarian_catalog"]])

    async def provision_site(_dsn: str, _passwords: Mapping[str, str]) -> list[str]:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    monkeypatch.setattr(init, "provision_site", provision_site)
    assert main(["roles", str(secrets / "database"), "--dsn", "postgresql://x@y/z"]) == 0
    assert "librarian_catalog" in capsys.readouterr().out
