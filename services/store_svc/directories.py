"""Walking below a descriptor without ever following a symbolic link.

Every step is an `openat` of one component with O_NOFOLLOW, relative to the directory above: whatever
is planted or swapped on the way, nothing outside is reached.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE_AND_READ: Final = CREATE & ~os.O_WRONLY | os.O_RDWR
_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_KEPT_OPEN: Final = 64


@contextmanager
def opened(name: str, *, at: int, flags: int = DIRECTORY) -> Iterator[int]:
    fd = os.open(name, flags, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


def open_below(top: int, parts: Sequence[str]) -> int:
    """A descriptor, to be closed. FileNotFoundError; NotADirectoryError, also for a link."""
    fd = os.dup(top)
    try:
        for part in parts:
            below = os.open(part, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
    except OSError as error:
        os.close(fd)
        if error.errno == errno.ELOOP:
            raise NotADirectoryError(
                errno.ENOTDIR, "a symbolic link stands in the way", "/".join(parts)
            ) from error
        raise
    return fd


@contextmanager
def below(top: int, parts: Sequence[str]) -> Iterator[int]:
    fd = open_below(top, parts)
    try:
        yield fd
    finally:
        os.close(fd)


def ensure_directory(at: int, name: str, mode: int) -> bool:
    """Makes the directory with exactly this mode, whatever the umask; False where it is there already."""
    try:
        os.mkdir(name, mode, dir_fd=at)
    except FileExistsError:
        return False
    with opened(name, at=at) as fd:
        os.fchmod(fd, mode)
    return True


def open_made(at: int, name: str, mode: int) -> int:
    """A descriptor of the directory, which is made where it is missing."""
    try:
        return os.open(name, DIRECTORY, dir_fd=at)
    except FileNotFoundError:
        ensure_directory(at, name, mode)
        return os.open(name, DIRECTORY, dir_fd=at)


def lstat(name: str, *, at: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def names_in(fd: int) -> list[str]:
    return os.listdir(fd)


def stands_exactly(name: str, *, at: int) -> bool:
    """Whether an entry of just this spelling is there: a file system without case answers to others too."""
    return name in names_in(at)


def remove(name: str, *, at: int) -> None:
    """Removes the entry with all below it; fine where there is none."""
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=at)
        except (IsADirectoryError, PermissionError):
            _remove_tree(name, at)


def _remove_tree(name: str, at: int) -> None:
    """Iterative, because a tree may be deeper than there are descriptors or stack frames."""
    found = [[name]]
    for parts in found:
        with below(at, parts) as fd:
            # To be emptied it has to be writable; where it is another's, it may be so by its group.
            with suppress(PermissionError):
                os.fchmod(fd, 0o700)
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found.append([*parts, entry.name])
                    else:
                        os.unlink(entry.name, dir_fd=fd)
    for parts in reversed(found):
        with below(at, parts[:-1]) as fd:
            os.rmdir(parts[-1], dir_fd=fd)


def prune(top: int, parts: Sequence[str]) -> None:
    """Removes the directory and those above it, up to `top`, as long as they are empty."""
    for length in range(len(parts), 0, -1):
        try:
            with below(top, parts[: length - 1]) as fd:
                os.rmdir(parts[length - 1], dir_fd=fd)
        except OSError:
            return


class Parents:
    """The parent directories of a batch, a bounded number of them kept open; for one thread."""

    def __init__(self, top: int, mode: int, owner: tuple[int, int] | None, *, check_case: bool) -> None:
        self._top = top
        self._mode = mode
        self._owner = owner
        self._check_case = check_case
        self._open: OrderedDict[tuple[str, ...], int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._open.values():
            os.close(fd)

    def open(self, parts: tuple[str, ...]) -> int:
        """Made where missing. NotADirectoryError where a file or a link stands in the way; FileExistsError
        where a directory does that only a file system without case takes for it.
        """
        if not parts:
            return self._top
        fd = self._open.get(parts)
        if fd is None:
            fd = self._make(parts)
            self._open[parts] = fd
            if len(self._open) > _KEPT_OPEN:
                os.close(self._open.popitem(last=False)[1])
        return fd

    def forget(self, parts: tuple[str, ...]) -> None:
        """It was removed meanwhile; the next `open` makes it again."""
        fd = self._open.pop(parts, None)
        if fd is not None:
            os.close(fd)

    def _make(self, parts: tuple[str, ...]) -> int:
        fd = os.dup(self._top)
        for part in parts:
            try:
                next_fd = self._step(fd, part)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    message = "a symbolic link stands in the way"
                    raise NotADirectoryError(errno.ENOTDIR, message, part) from error
                raise
            finally:
                os.close(fd)
            fd = next_fd
        return fd

    def _step(self, fd: int, part: str) -> int:
        try:
            found = os.open(part, DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            made = ensure_directory(fd, part, self._mode)
            found = os.open(part, DIRECTORY, dir_fd=fd)
            if made and self._owner is not None:
                with suppress(PermissionError):
                    os.fchown(found, *self._owner)
            return found
        if self._check_case and not stands_exactly(part, at=fd):
            os.close(found)
            raise FileExistsError(errno.EEXIST, "another spelling of it is there", part)
        return found
