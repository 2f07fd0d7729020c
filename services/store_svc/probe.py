"""What the file system below a root can do, tried out in a folder of its own that is removed again."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from librarian.kernel import Unsupported
from store_svc import layout
from store_svc.directories import CREATE, READ, ensure_directory, lstat, opened, remove
from store_svc.filesystem import FileSystem
from store_svc.identity import ROOT
from store_svc.records import Capabilities

_FOUR_GIB: Final = 4 << 30
_SOME_OTHER_USER: Final = 65534
_TOO_LARGE: Final = {errno.EFBIG, errno.EINVAL, errno.ENOSPC, errno.EDQUOT}


def probe(folder: Path, filesystem: FileSystem) -> Capabilities:
    """Of the file system `folder` is on. Raises OSError where not even a folder can be made in it."""
    name = f"{layout.PROBE}{secrets.token_hex(4)}"
    with opened(str(folder), at=-1, flags=ROOT) as top:
        ensure_directory(top, name, 0o700)
        try:
            with opened(name, at=top) as fd:
                return Capabilities(
                    rename_noreplace=_works(lambda: _rename(filesystem, fd)),
                    hard_links=_works(lambda: _link(filesystem, fd)),
                    reflink=_works(lambda: _reflink(filesystem, fd)),
                    chown=_works(lambda: _chown(filesystem, fd)),
                    leases=_works(lambda: _lease(filesystem, fd)),
                    case_sensitive=_works(lambda: _case(fd)),
                    symlinks=_works(lambda: _symlink(fd)),
                    max_file_bytes=0 if _works(lambda: _large(fd)) else _FOUR_GIB - 1,
                    file_system=file_system_of(os.fstat(fd).st_dev),
                )
        finally:
            remove(name, at=top)


def file_system_of(device: int) -> str:
    """Its type as mounted ("ext4", "nfs4"); "" where the system does not tell."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[2] == wanted:
            return source.split(" ")[0]
    return ""


def _works(attempt: Callable[[], bool]) -> bool:
    try:
        return attempt()
    except (OSError, Unsupported):
        return False


def _make(fd: int, name: str) -> None:
    made = os.open(name, CREATE, 0o600, dir_fd=fd)
    try:
        os.write(made, b"librarian")
    finally:
        os.close(made)


def _rename(filesystem: FileSystem, fd: int) -> bool:
    _make(fd, "rename-a")
    _make(fd, "rename-b")
    filesystem.rename_noreplace(fd, "rename-a", fd, "rename-c")
    try:
        filesystem.rename_noreplace(fd, "rename-b", fd, "rename-c")
    except FileExistsError:
        return True
    return False


def _link(filesystem: FileSystem, fd: int) -> bool:
    _make(fd, "link-a")
    filesystem.link(fd, "link-a", fd, "link-b")
    found = lstat("link-b", at=fd)
    return found is not None and found.st_nlink == 2


def _reflink(filesystem: FileSystem, fd: int) -> bool:
    _make(fd, "reflink-a")
    _make(fd, "reflink-b")
    with (
        opened("reflink-a", at=fd, flags=READ) as source,
        opened("reflink-b", at=fd, flags=os.O_WRONLY) as destination,
    ):
        filesystem.reflink(source, destination)
    return True


def _chown(filesystem: FileSystem, fd: int) -> bool:
    _make(fd, "chown")
    with opened("chown", at=fd, flags=READ) as file:
        return filesystem.give(file, (_SOME_OTHER_USER, -1)) and os.fstat(file).st_uid == _SOME_OTHER_USER


def _lease(filesystem: FileSystem, fd: int) -> bool:
    """Granted where nobody writes, and refused where somebody does."""
    _make(fd, "lease")
    with opened("lease", at=fd, flags=READ) as file:
        if not filesystem.has_no_writer(file):
            return False
        with opened("lease", at=fd, flags=os.O_WRONLY):
            return not filesystem.has_no_writer(file)


def _case(fd: int) -> bool:
    _make(fd, "case")
    return lstat("CASE", at=fd) is None


def _symlink(fd: int) -> bool:
    os.symlink("case", "symlink", dir_fd=fd)
    return os.readlink("symlink", dir_fd=fd) == "case"


def _large(fd: int) -> bool:
    """A hole of 4 GiB takes no room; a file system that cannot have such a file refuses it."""
    _make(fd, "large")
    with opened("large", at=fd, flags=os.O_WRONLY) as file:
        try:
            os.ftruncate(file, _FOUR_GIB)
        except OSError as error:
            return error.errno not in _TOO_LARGE
    return True
