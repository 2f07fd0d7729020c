"""The system calls whose absence has a fallback, behind one object that a test can make refuse them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

from librarian import kernel
from librarian.kernel import Unsupported

_REFUSED: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_COPY_BYTES: Final = 8 << 20


class Feature(StrEnum):
    RENAME_NOREPLACE = "rename_noreplace"
    HARD_LINKS = "hard_links"
    REFLINK = "reflink"
    CHOWN = "chown"
    LEASES = "leases"
    SYNCFS = "syncfs"


class FileSystem:
    """Names are relative to directory descriptors, so that nothing can be put in between on the way."""

    def __init__(self, refused: frozenset[Feature] = frozenset()) -> None:
        self._refused = refused

    def link(self, src_fd: int, src: str, dst_fd: int, dst: str) -> None:
        """A second name for a file, never over something. Unsupported where links are not to be had."""
        self._check(Feature.HARD_LINKS)
        try:
            os.link(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _REFUSED:
                raise Unsupported("hard link") from error
            raise

    def rename_noreplace(self, src_fd: int, src: str, dst_fd: int, dst: str) -> None:
        """Never over something: FileExistsError. Unsupported where the file system cannot promise that."""
        self._check(Feature.RENAME_NOREPLACE)
        kernel.renameat2_noreplace(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)

    def give(self, target: int | str, owner: tuple[int, int], *, at: int | None = None) -> bool:
        """Changes user and group (-1 leaves as it is) of an open file, or of an entry of `at`, which is not
        followed. False where that is not allowed.
        """
        if Feature.CHOWN in self._refused:
            return False
        try:
            if isinstance(target, int):
                os.fchown(target, *owner)
            else:
                os.chown(target, *owner, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            if error.errno in _REFUSED | {errno.EACCES, errno.EINVAL}:
                return False
            raise
        return True

    def has_no_writer(self, fd: int) -> bool:
        """Whether it is sure that no process has the file open for writing; `fd` is open for reading."""
        if Feature.LEASES in self._refused:
            return False
        try:
            if not kernel.read_lease(fd):
                return False
            kernel.release_lease(fd)
        except (Unsupported, PermissionError):
            return False
        return True

    def lease_alone(self, fd: int) -> bool:
        """Whether it is sure that no other descriptor has the file open; `fd` is open for writing. Others
        who open it wait until `release_alone`, or until `fd` is closed.
        """
        if Feature.LEASES in self._refused:
            return False
        try:
            return kernel.write_lease(fd)
        except (Unsupported, PermissionError):
            return False

    def is_alone(self, fd: int) -> bool:
        """Whether nobody has tried to open the file since `lease_alone`."""
        return kernel.holds_write_lease(fd)

    def release_alone(self, fd: int) -> None:
        kernel.release_lease(fd)

    def reflink(self, src_fd: int, dst_fd: int) -> None:
        self._check(Feature.REFLINK)
        kernel.ficlone(src_fd, dst_fd)

    def copy(self, src_fd: int, dst_fd: int) -> int:
        """All bytes of one open file into another, empty one; how many."""
        try:
            self.reflink(src_fd, dst_fd)
            return os.fstat(dst_fd).st_size
        except Unsupported:
            return self._copy_range(src_fd, dst_fd)

    def sync(self, fd: int) -> None:
        """Makes all that was written to the file system of `fd` durable."""
        if Feature.SYNCFS not in self._refused:
            with suppress(Unsupported):
                kernel.syncfs(fd)
                return
        os.sync()

    def _copy_range(self, src_fd: int, dst_fd: int) -> int:
        offset = 0
        move: Callable[[int], int] = lambda at: os.copy_file_range(src_fd, dst_fd, _COPY_BYTES, at, at)  # noqa: E731
        while True:
            try:
                count = move(offset)
            except OSError as error:
                if offset or error.errno not in _REFUSED | {errno.EINVAL, errno.EBADF}:
                    raise
                move = lambda at: _copy_chunk(src_fd, dst_fd, at)  # noqa: E731
                continue
            if not count:
                return offset
            offset += count

    def _check(self, feature: Feature) -> None:
        if feature in self._refused:
            raise Unsupported(feature)


def _copy_chunk(src_fd: int, dst_fd: int, offset: int) -> int:
    return write_all(dst_fd, os.pread(src_fd, 1 << 20, offset), offset)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> int:
    """A write may stop short (a signal, a full disk); this one goes on until the trouble has a name."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], offset + done)
    return done
