"""What the operating system says about files, as Librarian's errors."""

from __future__ import annotations

import errno

from librarian.errors import LibrarianError, PathNotFound, ReadFailed, StoreFull, Unreadable
from librarian.names import printable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR}


def reading_error(error: OSError, path: str) -> LibrarianError:
    """For trouble while reading `path`: UNREADABLE, PATH_NOT_FOUND or READ_FAILED."""
    shown = printable(path)
    if error.errno in _DENIED:
        return Unreadable(f"{shown!r} cannot be read: permission denied", path=shown)
    if error.errno in _GONE:
        return PathNotFound(f"there is no {shown!r}", path=shown)
    return ReadFailed(f"reading {shown!r} failed: {error.strerror or error}", path=shown)


def is_full(error: OSError) -> bool:
    """Whether there is no room, or no quota, to write more."""
    return error.errno in _FULL


def no_room(error: OSError, path: str) -> StoreFull:
    """For `is_full` trouble while writing `path`."""
    shown = printable(path)
    return StoreFull(
        f"no room to write {shown!r}: {error.strerror}",
        remedy="free space on that file system, or take another one",
        path=shown,
    )
