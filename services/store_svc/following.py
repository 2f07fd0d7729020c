"""Hashes a streamed file behind its writer, so that the commit need not read all of it once more.

What is hashed is read back from the file, never taken from the message. The checksum stands for the file
as long as it is sure that nobody else wrote to it:

- while it is hashed, a write lease: it is granted only where no other descriptor is open, and lost when
  somebody opens the file;
- from then on the file's looks. Whoever writes to it changes its mtime, which was told by the client and is
  not of this moment; whoever sets the mtime back changes its ctime. See `taking`.

Where any of that is not to be had, there is no early checksum, and the commit reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from librarian import kernel
from librarian.checksums import Checksum, new_hasher
from librarian.filehash import READ_BYTES
from librarian.pipeline import buffer
from store_svc.filesystem import FileSystem

# Files that grow to this size are followed: hashing smaller ones at the commit is as quick.
FOLLOWED_BYTES: Final = 8 << 20
_STEP_BYTES: Final = 8 << 20
# What may be left to hash when the last byte has come; where it is more, all cores are busy with commits.
_LEFT_BYTES: Final = 256 << 20
# The cache keeps so much behind the reader, which is written out by then; what is older is let go. Else every
# byte of a stream takes fresh memory, which costs more than the hashing.
_KEPT_BYTES: Final = 64 << 20
# Coarser than any clock files are stamped with.
_MOMENT_NS: Final = 100_000_000

# Begins work in another thread.
Start = Callable[..., Future[Any]]


@dataclass(frozen=True, slots=True)
class EarlyChecksum:
    """Of a whole file, and how it looked when it was known that nobody else had written to it."""

    checksum: Checksum
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    def is_of(self, status: os.stat_result) -> bool:
        """Whether nothing was done to the file since."""
        return self.has_bytes_of(status) and status.st_ctime_ns == self.ctime_ns

    def has_bytes_of(self, status: os.stat_result) -> bool:
        """The same, of a file that was itself moved since, which changes its ctime."""
        looks = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return looks == (self.device, self.inode, self.size_bytes, self.mtime_ns)


# By upload and path.
Early = Mapping[str, Mapping[str, EarlyChecksum]]


class Follower:
    """One file that is written from its start to its end by one descriptor, open for reading as well. All
    but `give_up` is for its writer; `stop` or `finish` comes before the descriptor is closed.
    """

    def __init__(self, filesystem: FileSystem, fd: int, algorithm: str, start: Start) -> None:
        self._filesystem = filesystem
        self._fd = fd
        self._algorithm = algorithm
        self._start = start
        self._hasher = new_hasher(algorithm)
        self._view = buffer(READ_BYTES)
        self._hashed = 0
        self._let_go = 0
        self._step: Future[Any] | None = None
        self._guard = Lock()
        self._over = not filesystem.lease_alone(fd)

    def written(self, end: int) -> None:
        """All up to `end` can be read."""
        if self._over:
            return
        if not self._filesystem.is_alone(self._fd):
            self.give_up()
        elif end - self._hashed >= _STEP_BYTES and (self._step is None or self._step.done()):
            self._step = self._start(self._hash, min(end, self._hashed + 2 * _STEP_BYTES))

    def finish(self, end: int) -> EarlyChecksum | None:
        """Of the complete file with its final mode and mtime; None where it cannot be told."""
        self._wait()
        if not self._over and end - self._hashed <= _LEFT_BYTES:
            self._hash(end)
        status = os.fstat(self._fd)
        with self._guard:
            sure = not self._over and self._filesystem.is_alone(self._fd)
            self._over = True
        if not sure or not self._hashed == end == status.st_size:
            return None
        if abs(status.st_mtime_ns - status.st_ctime_ns) < _MOMENT_NS:
            return None
        return EarlyChecksum(
            Checksum(self._algorithm, self._hasher.digest()),
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )

    def stop(self) -> None:
        """Nothing reads the descriptor when this returns."""
        self.give_up()
        self._wait()

    def give_up(self) -> None:
        """From any thread: there will be no early checksum, and others may open the file at once."""
        with self._guard:
            if not self._over:
                self._over = True
                self._filesystem.release_alone(self._fd)

    def _wait(self) -> None:
        if self._step is not None and not self._step.cancel():
            self._step.result()
        self._step = None

    def _hash(self, end: int) -> None:
        try:
            while self._hashed < end and not self._over:
                part = self._view[: end - self._hashed]
                count = os.preadv(self._fd, [part], self._hashed)
                if not count:
                    return
                self._hasher.update(part[:count])
                self._hashed += count
                if self._hashed - self._let_go >= _KEPT_BYTES + _STEP_BYTES:
                    kernel.let_go(self._fd, self._let_go, _STEP_BYTES)
                    self._let_go += _STEP_BYTES
        except OSError:
            # The commit reads it again, and tells.
            self.give_up()
