"""Fork server and supervisor, with services that do nothing but live and die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import support
from support.eventually import eventually_blocking

FAKE_SITE = Path(support.__file__).parent / "fake_site.py"


class FakeSite:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, str(FAKE_SITE), str(directory)], stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def pids(self) -> list[int]:
        words = self.line().split()
        assert words[0] == "ready", words
        return [int(word) for word in words[1:]]

    def stop(self) -> list[str]:
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=20)
        return out.splitlines()


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lib-t-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def site(directory: Path) -> Iterator[FakeSite]:
    site = FakeSite(directory)
    yield site
    site.process.kill()
    site.process.communicate()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def stopped_in_order(directory: Path) -> list[str]:
    return [line.split()[0] for line in (directory / "stopped").read_text().splitlines()]


def test_services_stop_in_order_and_their_output_is_logged(site: FakeSite) -> None:
    pids = site.pids()
    assert site.stop()[-1] == "stopped"
    assert stopped_in_order(site.directory) == ["door", "cellar"]
    assert all(gone(pid) for pid in pids)
    assert (site.directory / "door.log").read_text() == "door says hello\n"
    assert [int((site.directory / f"{name}.pid").read_text()) for name in ("door", "cellar")] == pids


def test_a_killed_service_is_started_again_and_that_is_said(site: FakeSite) -> None:
    door, cellar = site.pids()
    os.kill(door, signal.SIGKILL)
    assert site.line() == "door was killed by signal 9; starting it again in 0.1 s"
    assert re.fullmatch(r"door is back after \d\.\d s", site.line())
    os.kill(cellar, 0)
    site.stop()
    assert stopped_in_order(site.directory) == ["door", "cellar"]


def test_one_that_fails_again_and_again_is_given_more_and_more_time(site: FakeSite) -> None:
    door, _ = site.pids()
    (site.directory / "door.fail").touch()
    os.kill(door, signal.SIGKILL)
    assert site.line().endswith("killed by signal 9; starting it again in 0.1 s")
    assert site.line() == "door ended with code 3; starting it again in 0.2 s"
    assert site.line() == "door ended with code 3; starting it again in 0.4 s"
    (site.directory / "door.fail").unlink()
    assert site.line().startswith("door is back")
    assert site.stop()[-1] == "stopped"


def test_a_first_start_that_fails_ends_everything_and_tells_the_log(directory: Path) -> None:
    (directory / "cellar.fail").touch()
    site = FakeSite(directory)
    out, _ = site.process.communicate(timeout=20)
    assert out.splitlines() == [
        "failed: cellar ended with code 3 at its start; its log ends with: cellar says hello | cannot go on",
        "stopped",
    ]


def test_one_that_will_not_stop_is_killed(directory: Path) -> None:
    (directory / "door.deaf").touch()
    site = FakeSite(directory)
    door, _ = site.pids()
    assert "door did not stop within 1 s; killing it" in site.stop()
    assert gone(door)
    assert stopped_in_order(directory) == ["cellar"]


def test_one_that_hangs_is_killed_and_started_again(site: FakeSite) -> None:
    door, _ = site.pids()
    os.kill(door, signal.SIGSTOP)
    assert site.line() == "door has not answered for 1 s; killing it"
    assert site.line().startswith("door was killed by signal 9; starting it again")
    assert site.line().startswith("door is back")


def test_who_is_in_a_hurry_does_not_wait(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP_SECONDS", "60")
    (directory / "door.deaf").touch()
    site = FakeSite(directory)
    door, _ = site.pids()
    site.process.send_signal(signal.SIGTERM)
    site.process.send_signal(signal.SIGINT)
    out, _ = site.process.communicate(timeout=20)
    assert out.splitlines()[-1] == "stopped"
    assert gone(door)


def test_nothing_is_left_when_the_supervisor_is_killed(site: FakeSite) -> None:
    pids = site.pids()
    site.process.kill()
    eventually_blocking(lambda: all(gone(pid) for pid in pids), what="services gone after their supervisor")
    # Not merely killed: they were asked to stop, and did.
    assert sorted(stopped_in_order(site.directory)) == ["cellar", "door"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_nothing_is_left_when_the_fork_server_is_killed(site: FakeSite) -> None:
    pids = site.pids()
    fork_server = psutil.Process(pids[0]).ppid()
    assert fork_server != site.process.pid
    os.kill(fork_server, signal.SIGKILL)
    assert site.line().startswith("lost: the process that runs the services was killed")
    assert site.line() == "stopped"
    eventually_blocking(lambda: all(gone(pid) for pid in pids), what="services gone after the fork server")
