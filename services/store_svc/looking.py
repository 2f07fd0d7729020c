"""What lies in a directory, in path order, looked at but not read. Nothing is followed.

Memory is that of one folder's entries for each level, however large the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from librarian.manifests import DatasetKind, MemberKind
from store_svc.directories import below, lstat, opened
from store_svc.taking import SealedEntry, entry_of

# The size of what is neither file, link nor directory.
SPECIAL: Final = -1

_Found = tuple[str, SealedEntry | None]


def look(at: int, name: str) -> tuple[DatasetKind, os.stat_result] | None:
    """What a dataset's own entry is; None where nothing is there. A link or special file counts as a file
    that is none, see SPECIAL.
    """
    status = lstat(name, at=at)
    if status is None:
        return None
    return (DatasetKind.DIRECTORY if stat.S_ISDIR(status.st_mode) else DatasetKind.FILE), status


def walk_dataset(at: int, name: str, *, after: str = "") -> Iterator[SealedEntry]:
    """Members of the dataset `name` in `at`, those after `after`; a file has one, without a path."""
    found = look(at, name)
    if found is None:
        return
    kind, status = found
    if kind is DatasetKind.FILE:
        yield seen("", status, name, at)
        return
    with suppress(FileNotFoundError, NotADirectoryError), opened(name, at=at) as top:
        yield from walk(top, after=after)


def walk(top: int, *, after: str = "") -> Iterator[SealedEntry]:
    """Files, links, empty directories and special files below `top`; those with a path after `after`.

    In the order of whole paths: `a-b` lies between the file `a` and what is in the folder `a`.
    """
    levels = [_listed(top, [])]
    while levels:
        if not levels[-1]:
            levels.pop()
            continue
        path, entry = levels[-1].pop()
        if entry is not None:
            if path > after:
                yield entry
        # Nothing in a folder comes after what was told already, where the folder itself comes before
        # and is no part of that path.
        elif path > after or after.startswith(path):
            with suppress(FileNotFoundError, NotADirectoryError), below(top, path[:-1].split("/")) as fd:
                inside = _listed(fd, path[:-1].split("/"))
                if inside:
                    levels.append(inside)
                elif path[:-1] > after:
                    yield entry_of(path[:-1], MemberKind.DIRECTORY, os.fstat(fd))


def seen(path: str, status: os.stat_result, name: str, at: int) -> SealedEntry:
    """One entry that is no directory."""
    if stat.S_ISLNK(status.st_mode):
        return entry_of(path, MemberKind.SYMLINK, status, os.readlink(name, dir_fd=at))
    entry = entry_of(path, MemberKind.FILE, status)
    if not stat.S_ISREG(status.st_mode):
        entry.size_bytes = SPECIAL
    return entry


def _listed(fd: int, parts: Sequence[str]) -> list[_Found]:
    """A folder's entries, last first; folders end with a slash and have no entry of their own."""
    prefix = "".join(f"{part}/" for part in parts)
    found: list[_Found] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                found.append((f"{path}/", None))
            else:
                with suppress(FileNotFoundError):
                    found.append((path, seen(path, entry.stat(follow_symlinks=False), entry.name, fd)))
    found.sort(key=lambda each: each[0], reverse=True)
    return found
