"""A site on one machine: started, killed in every way, started again; nothing lost, nobody orphaned."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.data import contents
from support.eventually import eventually_blocking

from librarian.testing.site import Site, SiteFailed, remove_home, temporary_home

SERVICES = ("catalog", "gateway", "store", "transfer", "worker")


@pytest.fixture(scope="module")
def one_site() -> Iterator[Site]:
    site = Site(temporary_home())
    try:
        yield site
    finally:
        site.stop()
        remove_home(site.home)


@pytest.fixture
def site(one_site: Site) -> Site:
    """Up, whatever the test before has done to it."""
    return one_site if one_site.running() else one_site.start()


@pytest.fixture
def name() -> str:
    return f"book-{secrets.token_hex(4)}"


def processes(site: Site) -> list[psutil.Process]:
    """The supervisor and all below it, PostgreSQL's too."""
    supervisor = psutil.Process(site.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(them: list[psutil.Process]) -> Callable[[], bool]:
    return lambda: all(gone(process) for process in them)


def test_what_was_put_is_there_after_a_stop_and_a_start(
    site: Site, book: Path, name: str, tmp_path: Path
) -> None:
    with site.blocking_client() as librarian:
        librarian.put(book, name)
    before = (site.address, site.token)
    them = processes(site)
    site.stop()
    assert all_gone(them)()
    assert "database system is shut down" in site.log("postgres").splitlines()[-1]
    began = time.monotonic()
    site.start(port=int(before[0].rpartition(":")[2]))
    assert (site.address, site.token) == before
    print(f"second start: {time.monotonic() - began:.1f} s")
    with site.blocking_client() as librarian:
        librarian.get(name, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(book)


def test_the_supervisor_killed_leaves_no_orphan_and_the_next_start_finds_all(
    site: Site, book: Path, name: str, tmp_path: Path
) -> None:
    with site.blocking_client() as librarian:
        librarian.put(book, name)
    them = processes(site)
    assert len(them) > 7
    site.kill()
    eventually_blocking(all_gone(them), what="nobody left")
    site.start()
    with site.blocking_client() as librarian:
        librarian.get(name, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(book)


def test_everything_killed_at_once(site: Site, book: Path, name: str, tmp_path: Path) -> None:
    """As a power cut, but for the disk's own cache."""
    with site.blocking_client() as librarian:
        librarian.put(book, name)
    them = processes(site)
    for process in them:
        process.suspend()
    for process in them:
        process.kill()
    site.kill()
    eventually_blocking(all_gone(them))
    site.start()
    with site.blocking_client() as librarian:
        librarian.get(name, tmp_path / "back")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_dies_is_started_again_and_that_is_said(site: Site, service: str) -> None:
    said = site.log("up").count(f"{service} is back after")
    before = site.pid_of(service)
    os.kill(before, signal.SIGKILL)
    eventually_blocking(lambda: site.log("up").count(f"{service} is back after") > said)
    assert f"{service} was killed by signal 9; starting it again" in site.log("up")
    assert site.pid_of(service) != before

    def serves() -> bool:
        with site.blocking_client() as librarian:
            return all(health.serving for health in librarian.status().services)

    eventually_blocking(serves)


def test_postgresql_that_dies_is_started_again(site: Site, book: Path, name: str) -> None:
    said = site.log("up").count("PostgreSQL is back")
    pid = int((site.home / "pg" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    eventually_blocking(lambda: site.log("up").count("PostgreSQL is back") > said)
    with site.blocking_client() as librarian:
        eventually_blocking(lambda: librarian.put(book, name))
        assert [dataset.name for dataset in librarian.ls(name)] == [name]


def test_a_second_one_on_the_same_home_is_refused_and_told_who_runs(site: Site) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "librarian.cli", "up", "--home", str(site.home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=site.environment,
    )
    assert second.returncode == 1
    assert f"pid {site.pid}" in second.stderr
    assert site.address in second.stderr
    with site.blocking_client() as librarian:
        assert librarian.status().site == "test"


def test_secrets_are_for_their_owner_alone(site: Site) -> None:
    assert stat.S_IMODE(site.home.stat().st_mode) == 0o700
    secrets = [path for path in (site.home / "keys").iterdir() if path.suffix != ".pub"]
    assert site.home / "keys" / "admin.token" in secrets
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in secrets}
    assert set(modes.values()) == {"0o600"}, modes
    words = [path.read_text().strip() for path in secrets if path.suffix in {".password", ".token"}]
    logs = "".join(path.read_text(errors="replace") for path in (site.home / "logs").glob("*.log"))
    assert not [word for word in words if word in logs]
    # Nor on any command line, where every user of the machine could read it.
    commands = " ".join(" ".join(process.cmdline()) for process in processes(site))
    assert not [word for word in words if word in commands]
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in processes(site)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_an_idle_site_is_small(site: Site) -> None:
    """All but PostgreSQL, in proportional shares."""
    shares = {
        process.pid: process.memory_full_info().pss
        for process in processes(site)
        if process.name() != "postgres"
    }
    print(f"{sum(shares.values()) >> 20} MB")
    assert sum(shares.values()) < 300 << 20


def test_it_says_how_to_talk_to_it(site: Site) -> None:
    """And what is said works when it is pasted."""
    said = site.log("up")
    assert site.address in said
    export = re.findall(r"export LIBRARIAN_HOME=.*", said)[-1]
    shown = subprocess.run(
        ["sh", "-c", f"{export}; {sys.executable} -m librarian.cli ls --json"],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(site.home)},
    )
    assert isinstance(json.loads(shown.stdout), list)


def test_a_wrong_key_in_site_toml_stops_the_start_and_is_named() -> None:
    home = temporary_home()
    try:
        with pytest.raises(SiteFailed, match="hash_treads"):
            Site(home, settings="[store]\nhash_treads = 3\n").start()
    finally:
        remove_home(home)


def test_it_ends_when_whoever_started_it_is_killed() -> None:
    home = temporary_home()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        assert starter.stdout is not None
        supervisor = psutil.Process(int(starter.stdout.readline()))
        them = [supervisor, *supervisor.children(recursive=True)]
        starter.kill()
        eventually_blocking(all_gone(them), what="nobody left")
    finally:
        starter.kill()
        starter.communicate()
        remove_home(home)


STARTER = """
import sys
from pathlib import Path
from librarian.testing.site import Site
site = Site(Path(sys.argv[1])).start()
print(site.pid, flush=True)
sys.stdin.read()
"""


def test_an_existing_postgresql_is_used_instead(
    database_dsn: str, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBRARIAN_DATABASE_DSN", database_dsn)
    home = temporary_home()
    site = Site(home)
    try:
        site.start()
        assert not (home / "pg").exists()
        with site.blocking_client() as librarian:
            librarian.put(book, "kept")
            assert librarian.verify("kept")
    finally:
        site.stop()
        remove_home(home)
