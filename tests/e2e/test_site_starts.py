"""A site told to stop while it is still starting: it ends well, whatever it was just doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.eventually import eventually_blocking

from librarian.testing.site import remove_home, temporary_home

# What there is to see once the start has come so far.
MOMENTS = {
    "before anything": lambda home: (home / "lock").exists(),
    "PostgreSQL starts": lambda home: (home / "pg" / "postmaster.pid").exists(),
    "services start": lambda home: (home / "run" / "catalog.pid").exists(),
}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One for all: what a start that was stopped has left, the next one has to get on with."""
    home = temporary_home()
    yield home
    remove_home(home)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_in_the_middle(home: Path, moment: str) -> None:
    reached: Callable[[Path], bool] = MOMENTS[moment]
    for stale in (home / "lock", home / "run" / "catalog.pid"):
        stale.unlink(missing_ok=True)
    command = [sys.executable, "-m", "standalone", "--home", str(home), "--port", "0", "--throwaway"]
    site = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        eventually_blocking(lambda: reached(home))
        supervisor = psutil.Process(site.pid)
        them = [supervisor, *supervisor.children(recursive=True)]
        site.send_signal(signal.SIGTERM)
        said, _ = site.communicate(timeout=90)
        assert site.returncode == 0, said
        assert "Traceback" not in said
    finally:
        site.kill()
        site.communicate()
    psutil.wait_procs(them, timeout=30)
    assert not [process for process in psutil.process_iter(["cmdline"]) if of_home(process, home)]
    logs = "".join(path.read_text(errors="replace") for path in (home / "logs").glob("*.log"))
    assert "Traceback" not in logs


def of_home(process: psutil.Process, home: Path) -> bool:
    return any(str(home) in word for word in process.info["cmdline"] or ())
