"""What is to be put, as measured before a byte is read, and what became of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from librarian.checksums import Checksum
from librarian.errors import KindMismatch, LibrarianError, SpecialFile
from librarian.fileerrors import reading_error
from librarian.manifests import DatasetKind, MemberKind
from librarian.names import check_name, printable
from librarian.trees import Tree, TreeEntry, walk_tree


@dataclass(frozen=True, slots=True)
class PutItem:
    """A file or directory at `path` that shall become the dataset `name`."""

    path: Path
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    # When the data was made; None: now.
    create_time: datetime | None = None


class PutOutcome(StrEnum):
    PUBLISHED = "PUBLISHED"
    # The same name with the same bytes was there.
    ALREADY_THERE = "ALREADY_THERE"
    FAILED = "FAILED"


@dataclass(slots=True)
class PutResult:
    """`error` is set where the outcome is FAILED; `uid` and `digest` where it is not."""

    item: PutItem
    outcome: PutOutcome
    kind: DatasetKind | None = None
    uid: str = ""
    digest: Checksum | None = None
    size_bytes: int = 0
    member_count: int = 0
    store: str = ""
    error: LibrarianError | None = None

    @property
    def name(self) -> str:
        return self.item.name


@dataclass(slots=True)
class Source:
    """One item as found. A file has one entry, whose path is its own; a directory has its tree."""

    item: PutItem
    path: Path
    kind: DatasetKind
    size_bytes: int
    inode_count: int
    entry: TreeEntry | None = None
    tree: Tree | None = None

    @property
    def member_count(self) -> int:
        return len(self.tree.entries) if self.tree is not None else 1


def measure(item: PutItem) -> Source:
    """Blocking. A link given by name is followed; links inside a tree are kept as links.

    Raises INVALID_NAME, PATH_NOT_FOUND, UNREADABLE, SPECIAL_FILE and whatever `walk_tree` raises.
    """
    check_name(item.name)
    path = item.path
    try:
        status = os.stat(path)  # noqa: PTH116 - thousands of them in a batch
        if stat.S_ISDIR(status.st_mode):
            return _directory(item, path.resolve() if path.is_symlink() else path)
    except OSError as error:
        raise reading_error(error, str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        shown = printable(str(path))
        raise SpecialFile(f"{shown!r} is neither a regular file nor a directory", path=shown)
    entry = TreeEntry(
        os.fspath(path),
        MemberKind.FILE,
        status.st_size,
        "",
        stat.S_IMODE(status.st_mode),
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )
    return Source(item, path, DatasetKind.FILE, status.st_size, 1, entry=entry)


def _directory(item: PutItem, path: Path) -> Source:
    tree = walk_tree(path)
    return Source(item, path, DatasetKind.DIRECTORY, tree.size_bytes, tree.inode_count, tree=tree)


def items_of(directory: Path, prefix: str, tags: Mapping[str, str]) -> Iterator[PutItem | PutResult]:
    """Every entry of a directory as an item of its own, in order of their names; blocking.

    A link is answered as a refused result: following `latest -> night5` would keep night5 twice.
    """
    start = f"{prefix}/" if prefix else ""
    try:
        with os.scandir(directory) as found:
            entries = sorted((entry.name, entry.is_symlink()) for entry in found)
    except NotADirectoryError:
        shown = printable(str(directory))
        raise KindMismatch(
            f"{shown!r} is not a directory", remedy="leave --each out to put a single file", path=shown
        ) from None
    except OSError as error:
        raise reading_error(error, str(directory)) from error
    for name, is_link in entries:
        item = PutItem(directory / name, start + name, tags)
        if is_link:
            shown = printable(str(item.path))
            refusal = SpecialFile(
                f"{shown!r} is a symbolic link",
                remedy="put what it points to under a name of its own",
                path=shown,
            )
            yield PutResult(item, PutOutcome.FAILED, error=refusal)
        else:
            yield item
