"""Files and trees into a staging directory of the receiver's. Blocking, for threads.

The receiver may do what it likes to that directory meanwhile: nothing in it is followed, and what has a
second name is not written to. Nothing is hashed and nothing made durable, as the receiver does both.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from librarian import kernel
from librarian.fileerrors import is_full, reading_error
from librarian.ingest.local import StagingArea
from librarian.manifests import MemberKind
from librarian.pipeline import spread
from librarian.trees import TreeEntry
from transfer_svc.movers.landings import landing_error
from transfer_svc.movers.sources import Sight, check_same

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE: Final = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_ACCESS: Final = 0o060
_SMALL_BYTES: Final = 256 << 10
_STEP_BYTES: Final = 4 << 20
_PACED_BYTES: Final = 1 << 20
_TREE_THREADS: Final = 4
# What a crash of the machine may have taken off the end of an unfinished copy is written again.
_DOUBTED_BYTES: Final = 16 << 20

Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Copier:
    """`tick` is told the bytes that have arrived, from any thread, and `pace` those about to be copied;
    either may raise to stop.
    """

    area: StagingArea
    tick: Tick
    pace: Tick | None

    def copy(self, sight: Sight, upload_id: str) -> None:
        """Raises as `Looker.look`, and StoreFull, UploadTooLarge, LandingInvalid, Unavailable."""
        place = f"{self.area.directory}/{upload_id}"
        try:
            with _opened(self.area.directory) as at:
                if sight.tree is None:
                    self._file(sight.location, sight.entries[0], at, upload_id)
                else:
                    self._tree(sight, at, upload_id)
        except OSError as error:
            raise landing_error(error, place) from error

    def _tree(self, sight: Sight, at: int, upload_id: str) -> None:
        assert sight.tree is not None, "a directory has its tree"
        _ensure_directory(at, upload_id)
        with _opened(upload_id, at) as top:
            self._open_to_group(top)
            for directory in sight.tree.directories:
                with _parent(top, directory) as (folder, name):
                    _ensure_directory(folder, name)
                    with _opened(name, folder) as made:
                        self._open_to_group(made)
            for entry in sight.tree.entries:
                if entry.kind is not MemberKind.FILE:
                    self._without_bytes(entry, top)

            def work(entry: TreeEntry, *, alone: bool) -> None:  # noqa: ARG001 - there is nothing to hash beside
                with _parent(top, entry.path) as (folder, name):
                    self._file(sight.location_of(entry), entry, folder, name)

            spread(list(sight.tree.files()), work, threads=_TREE_THREADS)

    def _without_bytes(self, entry: TreeEntry, top: int) -> None:
        with _parent(top, entry.path) as (folder, name):
            if entry.kind is MemberKind.DIRECTORY:
                with _opened(name, folder) as made:
                    os.fchmod(made, self._mode(entry) | (stat.S_IMODE(os.fstat(made).st_mode) & 0o7000))
                return
            with suppress(OSError):
                if os.readlink(name, dir_fd=folder) == entry.link_target:
                    return
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            os.symlink(entry.link_target, name, dir_fd=folder)

    def _file(self, location: str, entry: TreeEntry, at: int, name: str) -> None:
        with _source(location) as source:
            check_same(os.fstat(source), entry, location)
            found = _destination(at, name, entry)
            if found is None:
                self.tick(entry.size_bytes)
                return
            destination, start = found
            try:
                if start:
                    self.tick(start)
                _Copy(source, destination, location, entry.size_bytes, self.tick, self.pace).run(start)
                check_same(os.fstat(source), entry, location)
                if (mode := self._mode(entry)) != self.area.made_mode:
                    os.fchmod(destination, mode)
                # Last: only a finished copy has it.
                os.utime(destination, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(destination)

    def _mode(self, entry: TreeEntry) -> int:
        return entry.mode & 0o777 | (_GROUP_ACCESS if self.area.open_to_group else 0)

    def _open_to_group(self, directory: int) -> None:
        """The store runs as another user of the directory's group, and has to take it away."""
        if self.area.open_to_group:
            os.fchmod(directory, stat.S_IMODE(os.fstat(directory).st_mode) | 0o2070)


@dataclass(slots=True)
class _Copy:
    source: int
    destination: int
    location: str
    size: int
    tick: Tick
    pace: Tick | None
    _in_kernel: bool = True

    def run(self, start: int) -> None:
        if self.size <= _SMALL_BYTES and not start:
            self._piece(0, self.size)
            return
        if not start and self._reflink():
            self.tick(self.size)
            return
        done = start
        for begin, end in self._extents(start):
            self.tick(begin - done)
            for offset in range(begin, end, self._step):
                self._piece(offset, min(self._step, end - offset))
            done = end
        # A hole at the end is no extent.
        os.ftruncate(self.destination, self.size)
        self.tick(self.size - done)

    @property
    def _step(self) -> int:
        return _PACED_BYTES if self.pace else _STEP_BYTES

    def _extents(self, start: int) -> Iterator[tuple[int, int]]:
        """Begin and end of the parts that hold data: holes stay holes."""
        offset = start
        while offset < self.size:
            try:
                begin = os.lseek(self.source, offset, os.SEEK_DATA)
                end = os.lseek(self.source, begin, os.SEEK_HOLE)
            except OSError:
                # Nothing but a hole, or a file system that does not tell: then all is found to be data.
                if not self._tells_holes():
                    yield offset, self.size
                return
            yield begin, min(end, self.size)
            offset = end

    def _tells_holes(self) -> bool:
        with suppress(OSError):
            return os.lseek(self.source, 0, os.SEEK_HOLE) <= self.size
        return False

    def _reflink(self) -> bool:
        try:
            kernel.ficlone(self.source, self.destination)
        except kernel.Unsupported:
            return False
        return True

    def _piece(self, offset: int, count: int) -> None:
        if self.pace is not None:
            self.pace(count)
        left, at = count, offset
        while left > 0:
            moved = self._in_one(at, left) if self._in_kernel and count > _SMALL_BYTES else 0
            moved = moved or self._by_hand(at, left)
            left -= moved
            at += moved
        self.tick(count)

    def _in_one(self, offset: int, count: int) -> int:
        """By the kernel, which may know a shorter way (a server copies for itself); 0: not so."""
        try:
            return os.copy_file_range(self.source, self.destination, count, offset, offset)
        except OSError as error:
            if is_full(error):
                raise
            # By hand it is clear which side the trouble is on.
            self._in_kernel = False
            return 0

    def _by_hand(self, offset: int, count: int) -> int:
        try:
            data = os.pread(self.source, min(count, _PACED_BYTES), offset)
        except OSError as error:
            raise reading_error(error, self.location) from error
        if not data:
            # It is shorter than it was: checked by the caller.
            return count
        view = memoryview(data)
        while view:
            written = os.pwrite(self.destination, view, offset)
            view = view[written:]
            offset += written
        return len(data)


@contextmanager
def _source(location: str) -> Iterator[int]:
    try:
        fd = os.open(location, _READ)
    except OSError as error:
        raise reading_error(error, location) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _destination(at: int, name: str, entry: TreeEntry) -> tuple[int, int] | None:
    """Open for writing, and where to go on; None: all of it is there."""
    with suppress(FileExistsError):
        return os.open(name, _CREATE, 0o666, dir_fd=at), 0
    status = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        if (status.st_size, status.st_mtime_ns) == (entry.size_bytes, entry.mtime_ns):
            return None
        start = _resume_at(status.st_size, entry.size_bytes)
        if start:
            fd = os.open(name, _WRITE, dir_fd=at)
            if os.fstat(fd).st_ino == status.st_ino:
                return fd, start
            os.close(fd)
    os.unlink(name, dir_fd=at)
    return os.open(name, _CREATE, 0o666, dir_fd=at), 0


def _resume_at(there: int, size: int) -> int:
    if there > size:
        return 0
    return max(0, there - _DOUBTED_BYTES) // _PACED_BYTES * _PACED_BYTES


@contextmanager
def _opened(path: str, at: int | None = None) -> Iterator[int]:
    fd = os.open(path, _DIRECTORY, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _parent(top: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder of a member, reached without following anything, and the last part of its path."""
    *folders, last = path.split("/")
    fd = os.dup(top)
    try:
        for folder in folders:
            below = os.open(folder, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd, last
    finally:
        os.close(fd)


def _ensure_directory(at: int, name: str) -> None:
    """A real one: what an earlier try left, or a link that leads elsewhere, has to go."""
    try:
        os.mkdir(name, dir_fd=at)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=at)
            os.mkdir(name, dir_fd=at)
