"""Where a site on one machine keeps everything: one directory, open to its owner alone.

site.toml      the site's name and what its keeper has changed
context.json   address and token file, for the client
keys/          signing keys, passwords and the admin's token, each 0600
logs/          one file a process
pg/            PostgreSQL's data
store/         the first store
run/           sockets and the settings made for this run; a link to a shorter path where need be
lock           held while the site runs
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from pathlib import Path

from librarian.errors import AlreadyRunning
from standalone.errors import RunDirectoryTaken
from svckit.keys import ensure_password

# A socket's path has at most 107 bytes (103 on macOS); ours are "<run>/transfer-metrics.sock" at most.
LONGEST_RUN_PATH = 70
# How long a start waits for what a killed run has left to end.
LEFTOVER_SECONDS = 30.0


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = root / "keys"
        self.logs = root / "logs"
        self.postgres = root / "pg"
        self.store = root / "store"
        self.site_file = root / "site.toml"
        self.context_file = root / "context.json"
        self.admin_token_file = self.keys / "admin.token"
        self.run = root / "run"
        self._lock_file = root / "lock"
        self._lock: int | None = None

    def make(self) -> None:
        """Directories that are not there yet; 0700. What is there keeps its mode."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.keys, self.logs, self.store):
            directory.mkdir(mode=0o700, exist_ok=True)
        self.run = self._make_run_directory()

    def secret(self, name: str) -> str:
        """The secret kept as keys/<name>; made, at random, when first asked for."""
        return ensure_password(self.keys / name)

    def lock(self) -> None:
        """Taken until this process and every process forked from it have ended; AlreadyRunning else.

        A supervisor that was killed leaves children that are ending: those are waited for.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not _try_lock(descriptor):
            holder = _read_holder(self._lock_file)
            pid = int(holder.get("pid", "0"))
            if (pid and _alive(pid)) or time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunning(
                    f"this site runs already: pid {pid}, address {holder.get('address', 'not known yet')}",
                    remedy=f"use it as it is, stop it (kill {pid}), or give another --home",
                    pid=pid,
                    address=holder.get("address", ""),
                    home=self.root,
                )
            time.sleep(0.05)
        self._lock = descriptor
        self.tell_holder("")

    def tell_holder(self, address: str) -> None:
        """Written into the lock for whoever tries to start a second time."""
        assert self._lock is not None, "locked first"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps({"pid": str(os.getpid()), "address": address}).encode(), 0)

    def tidy(self) -> None:
        """Leaves nothing outside of the home; after every process has ended."""
        link = self.root / "run"
        if link.is_symlink():
            shutil.rmtree(self.run)
            link.unlink()

    def _make_run_directory(self) -> Path:
        wanted = self.root / "run"
        if len(os.fsencode(wanted)) <= LONGEST_RUN_PATH and not wanted.is_symlink():
            wanted.mkdir(mode=0o700, exist_ok=True)
            return wanted
        # Always the same place for one home, so that what a killed run left there is found again.
        digest = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]
        short = Path(f"/tmp/librarian-{os.geteuid()}-{digest}")  # noqa: S108 owner and mode are checked
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise RunDirectoryTaken(
                f"{short} exists, and is not a directory of ours alone",
                remedy=f"remove {short}, or give a --home with a shorter path",
            )
        wanted.unlink(missing_ok=True)
        wanted.symlink_to(short)
        return short


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _read_holder(path: Path) -> dict[str, str]:
    try:
        holder: dict[str, str] = json.loads(path.read_text())
    except json.JSONDecodeError:
        return {}  # between the lock and the writing of it
    return holder


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
