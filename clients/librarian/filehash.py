"""Reading and hashing files, with all cores.

`progress` is called with the bytes done since its last call, from whatever thread does the work; what it
raises stops the work and comes out of the call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from librarian.checksums import Checksum, checksum_of, new_hasher
from librarian.errors import SourceChanged
from librarian.fileerrors import reading_error
from librarian.manifests import Member, MemberKind
from librarian.names import printable
from librarian.pipeline import Beside, buffer, spread
from librarian.trees import Tree, TreeEntry, walk_tree

Progress = Callable[[int], None]
PathOrFd = int | str | os.PathLike[str]

CHUNK_BYTES = 1 << 20  # of a stream: what one message may carry
READ_BYTES = 512 << 10  # fits the cache of one core
SMALL_BYTES = 256 << 10  # read at once, hashed at once
LARGE_BYTES = 8 << 20  # worth a second thread


def hash_file(
    path_or_fd: PathOrFd, algorithm: str, *, progress: Progress | None = None, sync: bool = False
) -> Checksum:
    """Of a whole file, from its first byte wherever a descriptor stands; `sync` makes it durable too.

    Raises UNREADABLE, PATH_NOT_FOUND, READ_FAILED.
    """
    with _opened(path_or_fd) as (fd, name):
        checksum, _ = hash_descriptor(fd, algorithm, name=name, progress=progress)
        if sync:
            os.fsync(fd)
        return checksum


def hash_descriptor(
    fd: int, algorithm: str, *, name: str, progress: Progress | None = None, alone: bool = True
) -> tuple[Checksum, int]:
    """Checksum and size of what is read from an open file until its end. `alone`: a large file may use
    a second core; say no where other threads keep the cores busy.
    """
    size = os.fstat(fd).st_size
    if size <= SMALL_BYTES:
        data = read_once(fd, size + 1, name)
        if len(data) <= size:
            if progress is not None and data:
                progress(len(data))
            return checksum_of(algorithm, data), len(data)
    reading = _hash_overlapped if alone and size >= LARGE_BYTES else _hash_inline
    return reading(fd, algorithm, name, progress)


def read_once(fd: int, count: int, name: str) -> bytes:
    """The first `count` bytes of an open file, or all it has."""
    try:
        return os.pread(fd, count, 0)
    except OSError as error:
        raise reading_error(error, name) from error


def read_into(fd: int, view: memoryview, offset: int, name: str) -> int:
    """How many bytes from `offset` on were read; 0 at the end."""
    try:
        return os.preadv(fd, [view], offset)
    except OSError as error:
        raise reading_error(error, name) from error


def hash_tree(
    root: Path, algorithm: str, *, threads: int | None = None, progress: Progress | None = None
) -> list[Member]:
    """All members of the tree below `root`, in path order, hashed by up to `threads` (all cores).

    Raises what `walk_tree` raises, and SOURCE_CHANGED for a file that changes while it is read.
    """
    return hash_walked(walk_tree(root), algorithm, threads=threads, progress=progress)


def hash_walked(
    tree: Tree, algorithm: str, *, threads: int | None = None, progress: Progress | None = None
) -> list[Member]:
    """As `hash_tree`, of a tree walked before."""
    root = os.fspath(tree.root)

    def work(entry: TreeEntry, *, alone: bool) -> Checksum:
        return hash_entry(f"{root}/{entry.path}", entry, algorithm, progress, alone=alone)

    return members_of(tree, spread(list(tree.files()), work, threads=threads))


def members_of(tree: Tree, checksums: Iterable[Checksum]) -> list[Member]:
    """The tree's entries as members; the checksums are those of its files, in path order."""
    found = iter(checksums)
    return [
        Member(
            entry.path,
            entry.kind,
            entry.size_bytes,
            next(found) if entry.kind is MemberKind.FILE else None,
            entry.link_target,
            entry.mode,
            entry.mtime_ns,
        )
        for entry in tree.entries
    ]


def stream_chunks(
    path_or_fd: PathOrFd, *, offset: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes from `offset` on, `length` of them or to the end, in chunks as they go into messages.

    A file that ends before `length` ends the stream: the caller knows what it asked for.
    """
    with _opened(path_or_fd) as (fd, name):
        left = length
        while left is None or left > 0:
            try:
                data = os.pread(fd, chunk_bytes if left is None else min(chunk_bytes, left), offset)
            except OSError as error:
                raise reading_error(error, name) from error
            if not data:
                return
            yield data
            offset += len(data)
            if left is not None:
                left -= len(data)


def check_unchanged(fd: int, before: os.stat_result, name: str, read_bytes: int) -> None:
    """Raises SourceChanged unless the open file is what it was and all of it was read."""
    after = os.fstat(fd)
    same = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    if not same or read_bytes != before.st_size:
        raise source_changed(name)


def source_changed(name: str) -> SourceChanged:
    shown = printable(name)
    return SourceChanged(f"{shown!r} changed while it was read", path=shown)


def hash_entry(
    name: str, entry: TreeEntry, algorithm: str, progress: Progress | None, *, alone: bool
) -> Checksum:
    """Of the file `name`, which must still be the one that was looked at: SOURCE_CHANGED otherwise."""
    with _opened(name) as (fd, _):
        checksum, size = hash_descriptor(fd, algorithm, name=name, progress=progress, alone=alone)
        after = os.fstat(fd)
    if (size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino) != (
        entry.size_bytes,
        entry.mtime_ns,
        entry.ctime_ns,
        entry.inode,
    ):
        raise source_changed(name)
    return checksum


def _hash_inline(fd: int, algorithm: str, name: str, progress: Progress | None) -> tuple[Checksum, int]:
    hasher = new_hasher(algorithm)
    view = buffer(READ_BYTES)
    offset = 0
    while count := read_into(fd, view, offset, name):
        hasher.update(view[:count])
        offset += count
        if progress is not None:
            progress(count)
    return Checksum(algorithm, hasher.digest()), offset


def _hash_overlapped(fd: int, algorithm: str, name: str, progress: Progress | None) -> tuple[Checksum, int]:
    hasher = new_hasher(algorithm)
    offset = 0
    with Beside(lambda data, _: hasher.update(data)) as hashing:
        while count := read_into(fd, view := hashing.take(), offset, name):
            hashing.give(view, count, offset)
            offset += count
            if progress is not None:
                progress(count)
        hashing.finish()
    return Checksum(algorithm, hasher.digest()), offset


@contextmanager
def _opened(path_or_fd: PathOrFd) -> Iterator[tuple[int, str]]:
    """The descriptor and a name for messages. Links are followed; a FIFO does not block."""
    if isinstance(path_or_fd, int):
        yield path_or_fd, f"descriptor {path_or_fd}"
        return
    name = os.fspath(path_or_fd)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise reading_error(error, name) from error
    try:
        yield fd, name
    finally:
        os.close(fd)
