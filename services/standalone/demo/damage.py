"""What may happen to data and to services, done on purpose."""

from __future__ import annotations

import filecmp
import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from librarian import PutResult
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.testing.site import Site

_LOOK_SECONDS = 0.01


def flip_a_bit(dataset: Path) -> Path:
    """Of the first byte of its largest file, whose times are put back; doing it twice mends it."""
    paths = [dataset] if dataset.is_file() else dataset.rglob("*")
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    victim = max(files, key=lambda path: (path.stat().st_size, str(path)))
    before = victim.stat()
    writable = before.st_mode | 0o200
    victim.chmod(writable)
    with victim.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    victim.chmod(before.st_mode)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    return victim


def same_trees(one: Path, other: Path) -> bool:
    """The same files with the same bytes; links by what they say."""
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    if _entries(one) != _entries(other):
        return False
    files = [path for path in one.rglob("*") if path.is_file() and not path.is_symlink()]
    return all(filecmp.cmp(path, other / path.relative_to(one), shallow=False) for path in files)


def _entries(root: Path) -> dict[str, str]:
    """{path: what it is}: "l target" of a link, "f" of a file, "d" of an empty directory."""
    entries = {}
    for path in root.rglob("*"):
        relative = str(path.relative_to(root))
        if path.is_symlink():
            entries[relative] = f"l {path.readlink()}"
        elif path.is_file():
            entries[relative] = "f"
        elif not any(path.iterdir()):
            entries[relative] = "d"
    return entries


def kill_store_during_ingest(site: Site, librarian: Librarian, source: Path, name: str) -> str:
    """Puts, and kills the store once the ingest is committed and not yet final. What it was doing then;
    "" when it was over before. Raises what the put raises.
    """
    with ThreadPoolExecutor(1) as pool:
        putting: Future[PutResult] = pool.submit(librarian.put, source, name)
        killed_at = ""
        pause = threading.Event()
        while not putting.done() and not killed_at:
            pause.wait(_LOOK_SECONDS)
            for ingest in librarian.ingests([transfer_pb2.INGEST_STATE_COMMITTING], limit=1):
                os.kill(site.pid_of("store"), signal.SIGKILL)
                killed_at = transfer_pb2.IngestState.Name(ingest.state).removeprefix("INGEST_STATE_")
        putting.result()
    return killed_at
