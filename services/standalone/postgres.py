"""The embedded PostgreSQL: a real server made and run from the programs of a Python wheel.

Passwords always (scram), a unix socket in a private directory, no TCP unless asked for. It stops when
the process that started it is gone; one that was left over nonetheless is stopped by the next start.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

from standalone.errors import PostgresFailed
from standalone.postgres_binaries import choose_launcher, find_binaries

SUPERUSER = "librarian"
# Five services with two pools each, the tests' own connections, and room for a person with psql.
MAX_CONNECTIONS = 200
# After a crash it reads its log again first, which on a slow disk takes its time.
START_SECONDS = 600.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.01
_READY_LINE = 7

# For tests alone: what a crash of the machine would lose is thrown away anyway. Commits stay synchronous:
# tests kill the server too, and that must lose nothing.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    data: Path
    # At most some 80 bytes long: the socket's whole path has to fit in 107.
    socket_dir: Path
    # Holds the superuser's password; 0600.
    password_file: Path
    log: Path
    durable: bool = True
    # Loopback TCP besides the socket; 0: none.
    port: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


class EmbeddedPostgres:
    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._launcher = choose_launcher()
        self._binaries = find_binaries(options.data)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str = "postgres", *, user: str = SUPERUSER, password: str = "") -> str:
        secret = password or self._options.password_file.read_text().strip()
        host = quote(str(self._options.socket_dir))
        return f"postgresql://{quote(user)}:{quote(secret, safe='')}@/{quote(database)}?host={host}"

    def start(self) -> None:
        """`launch`, then waits until connections are accepted."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"PostgreSQL is not ready after {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def launch(self) -> None:
        """Makes the data directory if there is none, clears what an earlier server left, and starts. To
        be called from the main thread: the server stops when the thread that started it ends.
        """
        options = self._options
        if not (options.data / "PG_VERSION").exists():
            self._make_data_directory()
        stop_leftover(options.data)
        self._clear_sockets()
        self._own(options.data)
        with options.log.open("ab") as log:
            self._process = self._popen(log)

    def ready(self) -> bool:
        """Whether connections are accepted; PostgresFailed, with the end of its log, when it has ended."""
        process = self._process
        assert process is not None, "launched first"
        if process.poll() is not None:
            raise self._failure("PostgreSQL did not start")
        lines = _lines(self._options.data / "postmaster.pid")
        return len(lines) > _READY_LINE and lines[0] == str(process.pid) and lines[_READY_LINE] == "ready"

    def stop(self) -> None:
        """Ends sessions, writes everything and stops; kills when that takes longer than a minute."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    def _make_data_directory(self) -> None:
        """Made beside and renamed: a start that was killed half-way leaves nothing that looks whole."""
        options = self._options
        unfinished = options.data.with_name(options.data.name + ".new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self._own(unfinished)
        command = [
            *self._launcher.prefix,
            str(self._binaries / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={options.password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]
        if not options.durable:
            command.append("--no-sync")
        made = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 our own arguments
        if made.returncode != 0:
            raise PostgresFailed(
                f"initdb could not make {options.data}: {made.stderr.strip()[-2000:]}",
                remedy="see that the disk has room and the home is writable, then start again",
            )
        unfinished.rename(options.data)

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        options = self._options
        settings = {
            "listen_addresses": "127.0.0.1" if options.port else "",
            "port": str(options.port or 5432),
            "unix_socket_directories": str(options.socket_dir),
            "unix_socket_permissions": "0700",
            "max_connections": str(MAX_CONNECTIONS),
            # In its own directory: /dev/shm is small in containers, and others clean it up.
            "dynamic_shared_memory_type": "mmap",
            **({} if options.durable else NOT_DURABLE),
            **options.settings,
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [*self._launcher.server_prefix(), str(self._binaries / "postgres"), "-D", str(options.data)]
        # A group of its own: Ctrl-C in the terminal must not stop it before those who use it.
        return subprocess.Popen(  # noqa: S603 our own arguments
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
            cwd=options.data.parent,
        )

    def _failure(self, what: str) -> PostgresFailed:
        tail = self._options.log.read_text(errors="replace").strip().splitlines()[-5:]
        return PostgresFailed(
            f"{what}; its log ends with: {' | '.join(tail)}", remedy=f"read {self._options.log}"
        )

    def _clear_sockets(self) -> None:
        """What a killed server left of its socket: the directory is ours alone, and no server runs now."""
        for stale in self._options.socket_dir.glob(".s.PGSQL.*"):
            stale.unlink()

    def _own(self, directory: Path) -> None:
        """Another way to run may have made it: files must belong to whom PostgreSQL runs as now."""
        wanted = os.geteuid() if self._launcher.owner is None else self._launcher.owner
        if directory.stat().st_uid == wanted:
            return
        for folder, _, files in os.walk(directory, topdown=False):
            for name in files:
                os.chown(Path(folder, name), wanted, -1, follow_symlinks=False)
            os.chown(folder, wanted, -1)


def stop_leftover(data: Path) -> None:
    """Stops a server still running on `data`, and removes the pid file of one that is gone.

    PostgreSQL clears stale pid files itself unless the number belongs to some other process now, which
    after a restart of a container it often does. The caller holds the home's lock, so no server is just
    being started.
    """
    status_file = data / "postmaster.pid"
    lines = _lines(status_file)
    if not lines:
        return
    server = _server_on(data, int(lines[0]))
    if server is None:
        status_file.unlink(missing_ok=True)
        return
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait(STOP_SECONDS)


def _server_on(data: Path, pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return None
    if process.status() == psutil.STATUS_ZOMBIE or str(data) not in command:
        return None
    return process


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return []
