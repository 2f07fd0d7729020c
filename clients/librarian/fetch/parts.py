"""Part files: written in order, hashed as they grow, finished with mode and mtime once verified.

Blocking, for a thread.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from librarian.checksums import Checksum, new_hasher
from librarian.errors import AlreadyRunning, ReplicaCorrupt
from librarian.fetch.target import Target
from librarian.fileerrors import is_full, no_room
from librarian.manifests import DatasetKind, Member
from librarian.names import printable

CHUNK_BYTES = 1 << 20
Tick = Callable[[int], None]


class PartFile:
    """One member's bytes so far. `offset` is where to go on: what an earlier run left counts, after it was
    read again.
    """

    def __init__(self, path: Path, member: Member, tick: Tick) -> None:
        assert member.checksum is not None, "a file has a checksum"
        self.member = member
        self.path = path
        self.offset = 0
        self.resumed = False
        self._tick = tick
        self._expected = member.checksum
        self._hasher = new_hasher(member.checksum.algorithm)
        self._descriptor: int | None = None

    def ensure_open(self) -> None:
        """Reads what an earlier run left."""
        if self._descriptor is not None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, 0o666)
        size = os.fstat(self._descriptor).st_size
        if size > self.member.size_bytes:
            os.ftruncate(self._descriptor, 0)
        while data := os.pread(self._descriptor, CHUNK_BYTES, self.offset):
            self._take(data)
        self.resumed = self.offset > 0

    def write(self, data: bytes) -> None:
        assert self._descriptor is not None, "opened first"
        view = memoryview(data)
        at = self.offset
        try:
            while view:
                count = os.pwrite(self._descriptor, view, at)
                view, at = view[count:], at + count
        except OSError as error:
            if is_full(error):
                raise no_room(error, str(self.path)) from error
            raise
        self._take(data)

    def _take(self, data: bytes) -> None:
        self._hasher.update(data)
        self.offset += len(data)
        self._tick(len(data))

    def is_verified(self) -> bool:
        """Whether all of it is there and is what it must be."""
        whole = self.offset == self.member.size_bytes
        return whole and Checksum(self._expected.algorithm, self._hasher.digest()) == self._expected

    def start_again(self) -> None:
        """Forgets every byte."""
        assert self._descriptor is not None, "opened first"
        os.ftruncate(self._descriptor, 0)
        self._tick(-self.offset)
        self.offset = 0
        self.resumed = False
        self._hasher = new_hasher(self._expected.algorithm)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def finish(self, umask: int) -> None:
        assert self._descriptor is not None, "opened first"
        finish(self._descriptor, self.member, umask)
        self.close()


def finish(file: int | Path, member: Member, umask: int) -> None:
    """Mode (as `cp` gives it) and mtime as recorded; a dataset of one file has no record of them."""
    if member.mode:
        os.chmod(file, member.mode & 0o777 & ~umask)  # noqa: PTH101 - of a descriptor too
    if member.mtime_ns:
        os.utime(file, ns=(member.mtime_ns, member.mtime_ns))


def corrupt(member: Member, name: str, store: str) -> ReplicaCorrupt:
    what = f"{printable(member.path)!r} of {name}" if member.path else name
    return ReplicaCorrupt(
        f"{what} is not what it was on store {store}: its checksum differs from the manifest's",
        remedy=f"`librarian verify {name}` records it; then read another replica (`librarian show {name}`)",
        name=name,
        path=member.path,
        store=store,
        expected=member.checksum,
    )


class PartLock:
    """Keeps a second `get` of the same dataset to the same place away while one runs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._descriptor: int | None = None
        if target.kind is DatasetKind.DIRECTORY:
            target.part.mkdir(exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY
        else:
            flags = os.O_RDWR | os.O_CREAT
        descriptor = os.open(target.part, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            shown = printable(str(target.part))
            raise AlreadyRunning(
                f"another get is writing {shown!r}", remedy="wait for it, or give another destination"
            ) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Leaves the part only where there is something in it to go on with."""
        if self._descriptor is None:
            return
        part = self._target.part
        # Not there after a success; not empty after an interruption.
        with suppress(OSError):
            if self._target.kind is DatasetKind.DIRECTORY:
                part.rmdir()
            elif part.stat().st_size == 0:
                part.unlink()
        os.close(self._descriptor)
        self._descriptor = None
