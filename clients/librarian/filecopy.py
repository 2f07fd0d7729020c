"""Copying files and hashing them on the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from librarian import kernel
from librarian.checksums import Checksum, checksum_of, new_hasher
from librarian.errors import SpecialFile
from librarian.fileerrors import is_full, no_room, reading_error
from librarian.filehash import (
    LARGE_BYTES,
    READ_BYTES,
    SMALL_BYTES,
    Progress,
    check_unchanged,
    hash_descriptor,
    hash_entry,
    members_of,
    read_into,
    read_once,
    source_changed,
)
from librarian.manifests import Member, MemberKind
from librarian.names import printable
from librarian.pipeline import Beside, buffer, spread
from librarian.trees import Tree, TreeEntry

PathLike = str | os.PathLike[str]
_WRITEBACK_BYTES = 16 << 20
_FILE_MODE = 0o666  # less the umask; what committed data may is the store's to set


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What was copied; `mode` is the source's permission bits, `mtime_ns` is on the copy too."""

    checksum: Checksum
    size_bytes: int
    mtime_ns: int
    mode: int


def copy_and_hash(
    source: PathLike,
    destination: PathLike,
    algorithm: str,
    *,
    progress: Progress | None = None,
    expected_size: int | None = None,
    alone: bool = True,
) -> CopyResult:
    """Copies one regular file over whatever `destination` is (never through a link) and hashes it.

    Nothing is made durable, but writing back to the medium begins at once. `alone` as in
    `hash_descriptor`. Raises SOURCE_CHANGED (also where the size is not `expected_size`), SPECIAL_FILE,
    UNREADABLE, PATH_NOT_FOUND, READ_FAILED, STORE_FULL; other trouble with the destination as OSError.
    """
    source_name = os.fspath(source)
    with _source(source_name) as (source_fd, before):
        if expected_size is not None and before.st_size != expected_size:
            raise source_changed(source_name)
        with _destination(os.fspath(destination), before) as destination_fd:
            copy = _Copy(source_fd, destination_fd, source_name, progress)
            checksum, size = copy.run(algorithm, before.st_size, alone=alone)
            check_unchanged(source_fd, before, source_name, size)
    return CopyResult(checksum, size, before.st_mtime_ns, stat.S_IMODE(before.st_mode))


def copy_tree(
    tree: Tree,
    destination: Path,
    algorithm: str,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    keep_complete: bool = False,
) -> list[Member]:
    """Copies a walked tree into the directory `destination` (made where missing) with all cores.

    Answers the members as copied, in path order. Files that are there are written anew, so an
    interrupted copy is simply done again; with `keep_complete` those whose size and mtime say that they
    were copied to the end stay (a copy gets its mtime last), and only their source is read. Raises as
    `copy_and_hash`.
    """
    root, target = os.fspath(tree.root), os.fspath(destination)
    _make_layout(tree, target)

    def work(entry: TreeEntry, *, alone: bool) -> Checksum:
        source = f"{root}/{entry.path}"
        if keep_complete and is_complete_copy(f"{target}/{entry.path}", entry):
            return hash_entry(source, entry, algorithm, progress, alone=alone)
        result = copy_and_hash(
            source,
            f"{target}/{entry.path}",
            algorithm,
            progress=progress,
            expected_size=entry.size_bytes,
            alone=alone,
        )
        if result.mtime_ns != entry.mtime_ns:
            raise source_changed(source)
        return result.checksum

    return members_of(tree, spread(list(tree.files()), work, threads=threads))


def is_complete_copy(path: str, entry: TreeEntry) -> bool:
    """Whether `path` has the size and mtime that only a finished copy of the entry has."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (
        entry.size_bytes,
        entry.mtime_ns,
    )


def _make_layout(tree: Tree, target: str) -> None:
    try:
        _make_directory(target)
        for directory in tree.directories:
            _make_directory(f"{target}/{directory}")
        for entry in tree.entries:
            if entry.kind is MemberKind.SYMLINK:
                link = f"{target}/{entry.path}"
                Path(link).unlink(missing_ok=True)
                Path(link).symlink_to(entry.link_target)
    except OSError as error:
        if is_full(error):
            raise no_room(error, target) from error
        raise


def _make_directory(path: str) -> None:
    """A real one: a link that leads elsewhere, and whatever an earlier try left there, has to go."""
    try:
        os.mkdir(path)  # noqa: PTH102 - text paths: there are many
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)  # noqa: PTH108 - as above
            os.mkdir(path)  # noqa: PTH102 - as above


class _Copy:
    def __init__(self, source: int, destination: int, source_name: str, progress: Progress | None) -> None:
        self._source = source
        self._destination = destination
        self._source_name = source_name
        self._progress = progress

    def run(self, algorithm: str, size: int, *, alone: bool) -> tuple[Checksum, int]:
        if size <= SMALL_BYTES:
            return self._small(algorithm, size)
        if self._reflink():
            return hash_descriptor(
                self._source, algorithm, name=self._source_name, progress=self._progress, alone=alone
            )
        if alone and size >= LARGE_BYTES:
            return self._overlapped(algorithm)
        return self._inline(algorithm)

    def _small(self, algorithm: str, size: int) -> tuple[Checksum, int]:
        # One byte more than there should be: a file that grew is told apart without another look.
        data = read_once(self._source, size + 1, self._source_name)
        self._write(memoryview(data), 0)
        if self._progress is not None and data:
            self._progress(len(data))
        return checksum_of(algorithm, data), len(data)

    def _inline(self, algorithm: str) -> tuple[Checksum, int]:
        hasher = new_hasher(algorithm)
        view = buffer(READ_BYTES)
        offset = 0
        while count := read_into(self._source, view, offset, self._source_name):
            hasher.update(view[:count])
            self._write(view[:count], offset)
            offset += count
            if self._progress is not None:
                self._progress(count)
        self._start_writeback(0, offset)
        return Checksum(algorithm, hasher.digest()), offset

    def _overlapped(self, algorithm: str) -> tuple[Checksum, int]:
        """Reading here and either writing or hashing beside it, so that the two threads have about as
        much to do: blake3 takes as long as reading, sha256 as long as reading and writing together.
        """
        hasher = new_hasher(algorithm)

        started = 0

        def write(data: memoryview, offset: int) -> None:
            nonlocal started
            self._write(data, offset)
            if offset - started >= _WRITEBACK_BYTES:
                self._start_writeback(started, offset - started)
                started = offset

        def update(data: memoryview, _: int) -> None:
            hasher.update(data)

        here, there = (update, write) if algorithm == "blake3" else (write, update)
        offset = 0
        with Beside(there) as beside:
            while count := read_into(self._source, view := beside.take(), offset, self._source_name):
                beside.give(view, count, offset)
                here(view[:count], offset)
                offset += count
                if self._progress is not None:
                    self._progress(count)
            beside.finish()
        return Checksum(algorithm, hasher.digest()), offset

    def _reflink(self) -> bool:
        try:
            kernel.ficlone(self._source, self._destination)
        except kernel.Unsupported:
            return False
        return True

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._destination, data, offset)
            data = data[count:]
            offset += count

    def _start_writeback(self, offset: int, length: int) -> None:
        with suppress(kernel.Unsupported):
            kernel.start_writeback(self._destination, offset, length)


@contextmanager
def _source(name: str) -> Iterator[tuple[int, os.stat_result]]:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise reading_error(error, name) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            shown = printable(name)
            raise SpecialFile(f"{shown!r} is not a regular file", path=shown)
        yield fd, status
    finally:
        os.close(fd)


@contextmanager
def _destination(name: str, source: os.stat_result) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, _FILE_MODE)
        try:
            yield fd
            os.utime(fd, ns=(source.st_atime_ns, source.st_mtime_ns))
        finally:
            os.close(fd)
    except OSError as error:
        if is_full(error):
            raise no_room(error, name) from error
        raise
