"""The embedded server: starts, keeps its data, cleans up after itself, changes no one's modes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from support.eventually import eventually_blocking
from support.postgres import run_blocking

from standalone import postgres_binaries
from standalone.errors import PostgresFailed, PostgresNeedsUser
from standalone.postgres import EmbeddedPostgres, PostgresOptions, stop_leftover
from standalone.postgres_binaries import Launcher, find_binaries


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lib-t-", dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o700)
        (home / "password").touch(mode=0o600)
        (home / "password").write_text("not-a-secret")
        yield home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory to copy: making one takes longest."""
    home = tmp_path_factory.mktemp("made")
    (home / "password").write_text("not-a-secret")
    server = EmbeddedPostgres(options(home))
    server._make_data_directory()
    return home / "pg"


@pytest.fixture
def home(empty_home: Path, made: Path) -> Path:
    shutil.copytree(made, empty_home / "pg")
    return empty_home


def options(home: Path, **changes: object) -> PostgresOptions:
    given = {"socket_dir": home, "log": home / "log", "durable": False, **changes}
    return PostgresOptions(data=home / "pg", password_file=home / "password", **given)


def fetch(dsn: str, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return run_blocking(run())


def test_data_outlives_a_stop_and_modes_stay(home: Path) -> None:
    for expected in (1, 2):
        server = EmbeddedPostgres(options(home))
        server.start()
        try:
            fetch(server.dsn(), "CREATE SEQUENCE IF NOT EXISTS counter")
            assert fetch(server.dsn(), "SELECT nextval('counter')") == expected
            assert fetch(server.dsn(), "SHOW listen_addresses") == ""
        finally:
            server.stop()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "pg").stat().st_mode) == 0o700


def test_a_wrong_password_is_refused(home: Path) -> None:
    server = EmbeddedPostgres(options(home))
    server.start()
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            fetch(server.dsn(password="wrong"), "SELECT 1")
    finally:
        server.stop()


def test_a_half_made_data_directory_is_made_again(empty_home: Path) -> None:
    (empty_home / "pg.new").mkdir()
    (empty_home / "pg.new" / "rubbish").write_text("left by a killed initdb")
    server = EmbeddedPostgres(options(empty_home))
    server.start()
    server.stop()
    assert not (empty_home / "pg.new").exists()


def test_a_pid_file_naming_a_stranger_does_not_stop_the_start(home: Path) -> None:
    server = EmbeddedPostgres(options(home))
    server.start()
    server.stop()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lines = [str(stranger.pid), str(home / "pg"), "1", "5432", str(home), "", "1 1", "ready"]
        (home / "pg" / "postmaster.pid").write_text("\n".join(lines))
        server.start()
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


STARTER = """
import sys
from pathlib import Path
from standalone.postgres import EmbeddedPostgres, PostgresOptions
home = Path(sys.argv[1])
server = EmbeddedPostgres(PostgresOptions(data=home / "pg", socket_dir=home,
    password_file=home / "password", log=home / "log", durable=False))
if sys.argv[2] == "immortal":
    from standalone.postgres_binaries import Launcher
    Launcher.server_prefix = lambda self: list(self.prefix)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def start_and_kill_the_starter(home: Path, how: str) -> psutil.Process:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    server = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()
    return server


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(Launcher((), None).server_prefix() == [], reason="needs setpriv")
def test_it_stops_when_its_starter_is_killed(home: Path) -> None:
    server = start_and_kill_the_starter(home, "mortal")
    eventually_blocking(lambda: gone(server), what="PostgreSQL gone after its starter")


def test_one_left_over_is_stopped_by_the_next_start(home: Path) -> None:
    left_over = start_and_kill_the_starter(home, "immortal")
    assert not gone(left_over)
    server = EmbeddedPostgres(options(home))
    server.start()
    try:
        assert gone(left_over)
        assert fetch(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="root's, by setpriv")
def test_where_user_namespaces_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in many containers: another user then, who needs no directory of ours to be opened for it."""
    works = postgres_binaries._works
    monkeypatch.setattr(postgres_binaries, "_works", lambda prefix: prefix[0] != "unshare" and works(prefix))
    server = EmbeddedPostgres(options(home))
    server.start()
    try:
        assert psutil.Process(server.pid).uids().effective == postgres_binaries.NOBODY
        assert fetch(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    # Where they are allowed again, its files are ours again.
    monkeypatch.undo()
    server = EmbeddedPostgres(options(home))
    server.start()
    server.stop()
    assert (home / "pg" / "PG_VERSION").stat().st_uid == 0


def test_root_without_any_way_is_told_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "_works", lambda _: False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(PostgresNeedsUser) as told:
        EmbeddedPostgres(options(home))
    assert "LIBRARIAN_DATABASE_DSN" in told.value.remedy


def test_what_a_server_killed_with_its_whole_machine_left(home: Path) -> None:
    """Its pid and socket files name a process that seems to be alive: the number is another's by now."""
    lines = [str(os.getppid()), str(home / "pg"), "1", "5432", str(home), "", "1 1", "ready"]
    (home / "pg" / "postmaster.pid").write_text("\n".join(lines))
    (home / ".s.PGSQL.5432.lock").write_text("\n".join(lines))
    (home / ".s.PGSQL.5432").touch()
    server = EmbeddedPostgres(options(home))
    server.start()
    server.stop()


def test_the_log_tells_why_it_did_not_start(home: Path) -> None:
    server = EmbeddedPostgres(options(home, settings={"no_such_setting": "1"}))
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        server.start()
    assert not server.running()


def test_stopping_a_leftover_without_a_data_directory_is_nothing(home: Path) -> None:
    stop_leftover(home / "pg")


def test_the_programs_of_the_version_that_made_the_data_are_used(empty_home: Path) -> None:
    newest = find_binaries(empty_home / "pg")
    (empty_home / "pg").mkdir()
    (empty_home / "pg" / "PG_VERSION").write_text("16\n")
    assert find_binaries(empty_home / "pg") != newest
    (empty_home / "pg" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Exception, match="made by PostgreSQL 9"):
        find_binaries(empty_home / "pg")


def test_a_stopped_server_is_stopped_cleanly(home: Path) -> None:
    server = EmbeddedPostgres(options(home))
    server.start()
    pid = server.pid
    assert pid is not None
    assert server.running()
    server.stop()
    assert not psutil.pid_exists(pid)
    assert "database system is shut down" in (home / "log").read_text()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
