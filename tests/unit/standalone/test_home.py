"""The home of a site: private, locked, and within what a socket's path may be."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.eventually import eventually_blocking

from librarian.errors import AlreadyRunning
from standalone.errors import OtherDatabase, PortTaken, RunDirectoryTaken, SiteHasName
from standalone.home import LONGEST_RUN_PATH, Home
from standalone.site import check_database
from standalone.site_files import choose_places, read_site_file, site_name, write_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_for_its_owner_alone(home: Home) -> None:
    assert [mode(path) for path in (home.root, home.keys, home.logs, home.store)] == [0o700] * 4
    home.secret("x.password")
    assert mode(home.keys / "x.password") == 0o600


def test_what_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).make()
    assert mode(tmp_path) == 0o755


def test_a_secret_is_made_once(home: Home) -> None:
    assert home.secret("a") == Home(home.root).secret("a") != home.secret("b")
    assert len(home.secret("a")) >= 32


def test_a_long_path_gets_short_sockets(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 30))
    home.make()
    again = Home(home.root)
    again.make()
    assert len(str(home.run)) < LONGEST_RUN_PATH
    assert home.run == again.run
    assert (home.root / "run").resolve() == home.run
    assert mode(home.run) == 0o700
    home.tidy()
    assert not home.run.exists()
    assert not (home.root / "run").is_symlink()


def test_a_short_path_somebody_else_made_is_not_trusted(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 30))
    home.make()
    home.run.chmod(0o777)
    try:
        with pytest.raises(RunDirectoryTaken):
            Home(home.root).make()
    finally:
        home.run.rmdir()


def test_a_second_run_is_refused_and_told_who_runs(home: Home) -> None:
    home.lock()
    home.tell_holder("grpc://127.0.0.1:1")
    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}, address grpc://127.0.0.1:1"):
        Home(home.root).lock()


HOLDER = """
import os, sys, time
from pathlib import Path
from standalone.home import Home
home = Home(Path(sys.argv[1])); home.lock()
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.readline()
    os._exit(0)
sys.stdout.flush()
os._exit(0)
"""


def test_the_rest_of_a_killed_run_is_waited_for(home: Home) -> None:
    """The holder is gone, a child of it is still ending: not "runs already", but a moment's wait."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"child\n"
    holder.wait()
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with pytest.raises(AssertionError):
        eventually_blocking(lambda: waiting.poll() is not None, timeout=0.5)
    holder.communicate(b"\n")
    out, _ = waiting.communicate(b"\n", timeout=20)
    assert out == b"child\n"


def test_the_name_is_kept(home: Home) -> None:
    assert site_name(home, "apex") == "apex"
    assert site_name(home, "") == "apex"
    with pytest.raises(SiteHasName):
        site_name(home, "other")


def test_without_a_name_it_is_one_the_settings_accept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Bob's_Mac (2).local")
    assert site_name(home, "") == "bob-s_mac-2"


def chosen(home: Home, port: int | None) -> int:
    places = choose_places(home, port=port)
    places.ports.close()
    return places.gateway_port


def test_a_taken_port_is_refused_when_asked_for_and_avoided_otherwise(home: Home) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken):
            choose_places(home, port=port)
        home.context_file.write_text(json.dumps({"address": f"grpc://127.0.0.1:{port}"}))
        assert chosen(home, None) != port
    assert chosen(home, None) == port


def test_a_site_is_not_started_on_another_database(home: Home) -> None:
    """It would look empty, and its store would seem to be a stranger's."""
    check_database(home, "")
    check_database(home, "postgresql://elsewhere/x")
    home.context_file.write_text("{}")
    check_database(home, "postgresql://elsewhere/x")
    with pytest.raises(OtherDatabase):
        check_database(home, "")
    home.postgres.mkdir()
    check_database(home, "")
    with pytest.raises(OtherDatabase):
        check_database(home, "postgresql://elsewhere/x")


def test_each_service_has_its_own_login_alone(home: Home) -> None:
    site_name(home, "apex")
    home.site_file.write_text(home.site_file.read_text() + "[store]\nhash_threads = 7\nlisten = 'mine'\n")
    places = choose_places(home, port=0)
    places.ports.close()
    names = ("gateway", "worker", "transfer", "store", "catalog")
    files = write_settings(home, "apex", places, {name: f"dsn-of-{name}" for name in names})
    for name, path in files.items():
        text = path.read_text()
        assert mode(path) == 0o600
        assert [other for other in names if f"dsn-of-{other}" in text] == [name]
    assert "hash_threads = 7" in files["store"].read_text()
    # What is worked out at each start is not the site file's to say.
    assert f'listen = "unix:{home.run}/store.sock"' in files["store"].read_text()
    assert read_site_file(home)["store"] == {"hash_threads": 7, "listen": "mine"}
