"""What a put has begun, kept on disk so that the same put, typed again, goes on with the same ingests.

One file a job (site, source, name) below XDG_STATE_HOME/librarian/puts: JSON lines, each `{"began":
{name: ingest_id, ...}}` or `{"ended": [name, ...]}`. Whoever runs the job holds a lock on the file; a
second put of the same job meanwhile has no journal and begins ingests of its own. A machine where nothing
can be written goes without: then a repeated put starts from the beginning, and is still right.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

# A site gives an ingest up a day after the last news of it: older journals tell of nothing.
FORGET_SECONDS = 7 * 24 * 3600
# Past this, what has ended is left out.
COMPACT_BYTES = 1 << 20


def journal_directory(environ: Mapping[str, str] | None = None) -> Path:
    environ = os.environ if environ is None else environ
    state = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "librarian" / "puts"


class Journal:
    """The journal of one job; blocking, for a thread. `ingests` are those begun and not ended."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self.ingests: dict[str, str] = {}

    @classmethod
    def open(cls, job: Iterable[str], *, directory: Path | None = None) -> Journal:
        directory = journal_directory() if directory is None else directory
        key = hashlib.sha256("\0".join(job).encode(errors="surrogateescape")).hexdigest()[:32]
        path = directory / f"{key}.jsonl"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(directory)
            journal = cls(path, _open_locked(path))
        except OSError:
            return cls(path, None)
        journal._read()
        return journal

    @classmethod
    def none(cls) -> Journal:
        """Of work that is not kept."""
        return cls(Path(), None)

    @property
    def is_kept(self) -> bool:
        """False while another put of the same job holds it, or where nothing can be written."""
        return self._descriptor is not None

    def began(self, ingests: Mapping[str, str]) -> None:
        """Ingest ids by dataset name."""
        if ingests:
            self.ingests.update(ingests)
            self._append({"began": dict(ingests)})

    def ended(self, names: Iterable[str]) -> None:
        known = [name for name in names if self.ingests.pop(name, None) is not None]
        if known:
            self._append({"ended": known})

    def close(self) -> None:
        """Leaves the file only where something is open."""
        if self._descriptor is None:
            return
        if not self.ingests:
            # While it is locked: nobody else can be reading it.
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _append(self, line: dict[str, object]) -> None:
        if self._descriptor is not None:
            # A full disk at home must not stop the put: it only cannot be resumed.
            with suppress(OSError):
                if os.fstat(self._descriptor).st_size > COMPACT_BYTES:
                    os.ftruncate(self._descriptor, 0)
                    line = {"began": self.ingests}
                os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def _read(self) -> None:
        for line in self._path.read_bytes().splitlines():
            # A line cut by a crash tells of ingests that were begun and expire.
            with suppress(ValueError, AttributeError):
                entry = json.loads(line)
                self.ingests.update(entry.get("began", {}))
                for name in entry.get("ended", []):
                    self.ingests.pop(name, None)


def _open_locked(path: Path) -> int | None:
    """None where another holds the lock. The file may vanish between opening and locking: then again."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            os.close(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        else:
            os.close(descriptor)


def _sweep(directory: Path) -> None:
    oldest = time.time() - FORGET_SECONDS
    for path in directory.glob("*.jsonl"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
