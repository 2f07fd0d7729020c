"""A site of its own process tree, with its own PostgreSQL, in a directory that is thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from librarian.errors import LibrarianError, Unavailable

if TYPE_CHECKING:
    from librarian import Librarian
    from librarian.blocking import Librarian as BlockingLibrarian

START_SECONDS = 300.0
STOP_SECONDS = 60.0
CLI_SECONDS = 300.0


class SiteFailed(LibrarianError):
    reason = "SITE_FAILED"


class Site:
    """Start it with `start`, or take it from the fixtures. `home` is as `librarian up` leaves it.

    It ends when this process does, however that comes about.
    """

    def __init__(self, home: Path, *, name: str = "test", settings: str = "", durable: bool = False) -> None:
        """`settings`: TOML for the services, as in the home's site.toml; without [site]. Unless it is
        `durable`, PostgreSQL may lose what a crash of the machine would lose, and is faster for it.
        """
        self.home = home
        self.name = name
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings:
            (home / "site.toml").write_text(f'[site]\nname = "{name}"\n\n{settings}\n')

    @property
    def address(self) -> str:
        address: str = self._context()["address"]
        return address

    @property
    def token(self) -> str:
        """The admin's; `blocking_client().issue_token` makes lesser ones."""
        return Path(self._context()["token_file"]).read_text().strip()

    @property
    def store_root(self) -> Path:
        return self.home / "store"

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None, "started first"
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """For programs that shall talk to this site."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LIBRARIAN_")}
        return {**kept, "LIBRARIAN_HOME": str(self.home)}

    def client(self) -> Librarian:
        """The asyncio client; to be used with `async with`."""
        from librarian import Librarian

        return Librarian.connect(address=self.address, token=self.token)

    def blocking_client(self) -> BlockingLibrarian:
        """The client for plain code; to be used with `with`."""
        from librarian.blocking import Librarian

        return Librarian.connect(address=self.address, token=self.token)

    def cli(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`librarian …` against this site, as a person would run it. SiteFailed with what it said where it
        exits with other than 0, unless `check` is off.
        """
        command = [sys.executable, "-m", "librarian.cli", *map(str, arguments)]
        done = subprocess.run(  # noqa: S603 the caller's own arguments
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=CLI_SECONDS
        )
        if check and done.returncode:
            shown = " ".join(command[2:])
            raise SiteFailed(f"{shown} exited with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def pid_of(self, service: str) -> int:
        """Of "gateway", "worker", "transfer", "store" or "catalog" as it runs now."""
        return int((self.home / "run" / f"{service}.pid").read_text())

    def log(self, process: str) -> str:
        """What "gateway", "store", "postgres", ... or the supervisor ("up") wrote."""
        path = self.home / "logs" / f"{process}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *, port: int = 0) -> Site:
        """Returns when it can be used; SiteFailed with what it said when it cannot start."""
        ours, theirs = socket.socketpair()
        logs = self.home / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "standalone", "--home", str(self.home), "--name", self.name]
        command += ["--port", str(port), "--control-fd", str(theirs.fileno())]
        if not self._durable:
            command.append("--throwaway")
        with (logs / "up.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env=_server_environment(),
            )
        theirs.close()
        self._control = ours
        ours.settimeout(START_SECONDS)
        with ours.makefile() as answers:
            line = answers.readline()
        told: Mapping[str, Mapping[str, str]] = json.loads(line) if line else {}
        if "ready" not in told:
            self.kill()
            error = told.get("error", {})
            said = error.get("message") or self.log("up")[-2000:]
            raise SiteFailed(f"the site in {self.home} did not start: {said}", remedy=error.get("remedy", ""))
        return self

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """As Ctrl-C would; nothing when it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """As the kernel would: the supervisor gets no chance to do anything."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def _wait(self) -> None:
        """Until every process of it is gone: they all hold the other end of our socket."""
        assert self._process is not None, "started first"
        assert self._control is not None, "started first"
        self._process.wait(STOP_SECONDS)
        self._control.settimeout(STOP_SECONDS)
        with contextlib.suppress(ConnectionResetError):
            while self._control.recv(4096):
                pass
        self._control.close()
        self._process = self._control = None

    def _context(self) -> Mapping[str, str]:
        try:
            context: Mapping[str, str] = json.loads((self.home / "context.json").read_text())
        except FileNotFoundError:
            raise Unavailable(f"the site in {self.home} has not been started") from None
        return context


def temporary_home() -> Path:
    """Short, because sockets lie in it, and for us alone."""
    return Path(tempfile.mkdtemp(prefix="lib-site-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108


def remove_home(home: Path) -> None:
    """With what the site made read-only in it."""
    for folder, _, _ in os.walk(home):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)


def _server_environment() -> dict[str, str]:
    """Settings of another site in our environment are not this one's; a database asked for is."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LIBRARIAN_")}
    database = os.environ.get("LIBRARIAN_DATABASE_DSN", "")
    return {**kept, "LIBRARIAN_DATABASE_DSN": database} if database else kept
