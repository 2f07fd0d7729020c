"""System calls that Python does not offer. Where the platform or the file system lacks one, `Unsupported`.

Importable everywhere; on other systems than Linux most of it is Unsupported.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

_FICLONE = 0x40049409
_AT_FDCWD = -100
_DARWIN_AT_FDCWD = -2
_RENAME_NOREPLACE = 1
_DARWIN_RENAME_EXCL = 4
_SYNC_FILE_RANGE_WRITE = 2
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LACKING = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}


class Unsupported(OSError):
    """What was asked for is not there on this platform or file system; nothing was changed."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.ENOTSUP, f"{what} is not supported here")


def renameat2_noreplace(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None:
    """Renames a file or directory, atomically, and never over something: FileExistsError instead."""
    source, destination = os.fsencode(src), os.fsencode(dst)
    darwin = sys.platform == "darwin"
    here = _DARWIN_AT_FDCWD if darwin else _AT_FDCWD
    rename = _function("renameatx_np" if darwin else "renameat2")
    status = rename(
        here if src_dir_fd is None else src_dir_fd,
        source,
        here if dst_dir_fd is None else dst_dir_fd,
        destination,
        _DARWIN_RENAME_EXCL if darwin else _RENAME_NOREPLACE,
    )
    _check("rename without replacing", status, src, dst)


def syncfs(fd: int) -> None:
    """Makes everything written to the file system of `fd` durable."""
    _check("syncfs", _function("syncfs")(fd))


def ficlone(src_fd: int, dst_fd: int) -> None:
    """Makes the destination share all of the source's blocks (a reflink): no bytes move."""
    if sys.platform != "linux":
        raise Unsupported("reflink")
    try:
        fcntl.ioctl(dst_fd, _FICLONE, src_fd)
    except OSError as error:
        if error.errno in _LACKING | {errno.EXDEV, errno.EPERM}:
            raise Unsupported("reflink") from error
        raise


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Asks for the dirty pages of a range to be written now, and does not wait. Promises nothing."""
    status = _function("sync_file_range")(
        fd, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
    )
    _check("sync_file_range", status)


def let_go(fd: int, offset: int, length: int) -> None:
    """The cache need not keep this range, as far as it is written out. A hint: it never fails."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def read_lease(fd: int) -> bool:
    """Whether a read lease was granted: then nobody, in any process, has the file open for writing.

    False where somebody has. `fd` must be open for reading only and the file the caller's own (or the
    caller capable of leases): PermissionError otherwise. Opening the file for writing then blocks until
    `release_lease`, so release it soon. The signal that tells of such an opener is turned into one
    that is ignored by default: SIGIO would end the process.
    """
    return _lease(fd, "F_RDLCK")


def write_lease(fd: int) -> bool:
    """As `read_lease`, of a descriptor open for writing: nobody else has the file open at all. Opening it
    blocks for as long, and takes the lease away at once.
    """
    return _lease(fd, "F_WRLCK")


def holds_write_lease(fd: int) -> bool:
    """Whether a lease once granted was never taken away."""
    return sys.platform == "linux" and fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_WRLCK


def release_lease(fd: int) -> None:
    """Gives a lease back; it may have been taken away."""
    if sys.platform != "linux":
        raise Unsupported("lease")
    with suppress(BlockingIOError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def keep_freed_memory() -> None:
    """Has the C library keep freed blocks of up to 4 MiB, 64 MiB of them at most, to be used again.

    For processes that stream chunks: by default each goes back to the kernel, which has to fill the next
    one with zeros, page by page. Measured: 1.1 s less of a client's CPU for each GiB sent. Only glibc
    can be told.
    """
    with suppress(Unsupported):
        mallopt = _function("mallopt")
        mallopt(_M_MMAP_THRESHOLD, 4 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _lease(fd: int, kind: Literal["F_RDLCK", "F_WRLCK"]) -> bool:
    if sys.platform != "linux":
        raise Unsupported("lease")
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, getattr(fcntl, kind))
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        if error.errno in _LACKING:
            raise Unsupported("lease") from error
        raise
    return True


@cache
def _function(name: str) -> Callable[..., int]:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise Unsupported(name)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


def _check(what: str, status: int, *paths: str | os.PathLike[str]) -> None:
    if status == 0:
        return
    number = ctypes.get_errno()
    if number in _LACKING:
        raise Unsupported(what)
    if len(paths) == 2:
        raise OSError(number, os.strerror(number), str(Path(paths[0])), None, str(Path(paths[1])))
    raise OSError(number, os.strerror(number))
