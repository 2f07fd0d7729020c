"""What lies in a directory: files, empty directories and links, looked at but not read.

Nothing is followed. Refused by name: SPECIAL_FILE (FIFO, socket, device), LINK_OUTSIDE, UNREADABLE and
INVALID_NAME (not UTF-8, or too long).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from librarian.errors import InvalidName, KindMismatch, LibrarianError, SpecialFile, Unreadable
from librarian.fileerrors import reading_error
from librarian.links import escapes
from librarian.manifests import MAX_MEMBERS, MemberKind, link_outside, too_many_members
from librarian.names import MAX_NAME_BYTES, check_member_path, printable

OnProblem = Callable[[LibrarianError], None]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One member to be. `mode` is permission bits; `ctime_ns` and `inode` tell later whether the file is
    still the one that was looked at.
    """

    path: str
    kind: MemberKind
    size_bytes: int
    link_target: str
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(slots=True)
class Tree:
    """`entries` in path order; `directories` are all below the root, parents first, empty ones too."""

    root: Path
    entries: list[TreeEntry] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def inode_count(self) -> int:
        """Files, links and directories, with the root."""
        empty = sum(entry.kind is MemberKind.DIRECTORY for entry in self.entries)
        return len(self.entries) - empty + len(self.directories) + 1

    def files(self) -> Iterator[TreeEntry]:
        return (entry for entry in self.entries if entry.kind is MemberKind.FILE)


def walk_tree(root: Path, *, on_problem: OnProblem | None = None) -> Tree:
    """Lists the tree below `root`, a real directory (KIND_MISMATCH for a link to one or anything else).

    The first problem is raised; with `on_problem` each is told and its entry left out.
    """
    _check_root(root)
    walk = _Walk(root, on_problem or _raise)
    walk.run()
    return walk.tree


def _raise(problem: LibrarianError) -> None:
    raise problem


def _check_root(root: Path) -> None:
    try:
        mode = root.lstat().st_mode
    except OSError as error:
        raise reading_error(error, str(root)) from error
    if not stat.S_ISDIR(mode):
        raise KindMismatch(f"{printable(str(root))!r} is not a directory", path=printable(str(root)))


class _Walk:
    def __init__(self, root: Path, problem: OnProblem) -> None:
        self.tree = Tree(root)
        self._problem = problem
        self._links: dict[str, str] = {}
        self._user = os.geteuid()

    def run(self) -> None:
        tree = self.tree
        pending = [""]
        while pending:
            self._scan(pending.pop(), pending)
            if len(tree.entries) > MAX_MEMBERS:
                raise too_many_members(len(tree.entries))
        outside = {path for path in self._links if escapes(path, self._links)}
        for path in sorted(outside):
            self._problem(link_outside(path, self._links[path]))
        if outside:
            tree.entries = [entry for entry in tree.entries if entry.path not in outside]
        tree.entries.sort(key=_path_of)
        tree.directories.sort()

    def _scan(self, directory: str, pending: list[str]) -> None:
        tree, prefix = self.tree, f"{directory}/" if directory else ""
        location = os.path.join(tree.root, directory)  # noqa: PTH118 - a Path for each is half the time
        seen = False
        try:
            with os.scandir(location) as found:
                for item in found:
                    seen = True
                    self._look(item, prefix + item.name, pending)
        except OSError as error:
            self._problem(reading_error(error, location))
            return
        if not seen and directory:
            self._add(directory, MemberKind.DIRECTORY, os.lstat(location))

    def _look(self, item: os.DirEntry[str], path: str, pending: list[str]) -> None:
        if not path.isascii() or len(path) > MAX_NAME_BYTES:
            try:
                check_member_path(path)
            except InvalidName as problem:
                self._problem(problem)
                return
        if item.is_dir(follow_symlinks=False):
            self.tree.directories.append(path)
            pending.append(path)
            return
        try:
            status = item.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                if self._may_read(item, status):
                    self._add(path, MemberKind.FILE, status)
                else:
                    shown = printable(item.path)
                    self._problem(Unreadable(f"{shown!r} cannot be read: permission denied", path=shown))
            elif stat.S_ISLNK(status.st_mode):
                self._add_link(path, status, os.readlink(item.path))  # noqa: PTH115 - Path tidies the target
            else:
                shown = printable(item.path)
                what = _special(status.st_mode)
                self._problem(SpecialFile(f"{shown!r} is a {what}, which cannot be kept", path=shown))
        except OSError as error:
            self._problem(reading_error(error, item.path))

    def _may_read(self, item: os.DirEntry[str], status: os.stat_result) -> bool:
        """A good guess, without a system call for most files; opening it has the last word."""
        if status.st_mode & stat.S_IROTH or (status.st_uid == self._user and status.st_mode & stat.S_IRUSR):
            return True
        return os.access(item.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)

    def _add_link(self, path: str, status: os.stat_result, target: str) -> None:
        try:
            target.encode()
        except UnicodeEncodeError:
            shown = printable(path)
            self._problem(InvalidName(f"the link {shown!r} points to a name that is not UTF-8", path=shown))
            return
        self._links[path] = target
        self._add(path, MemberKind.SYMLINK, status, target)

    def _add(self, path: str, kind: MemberKind, status: os.stat_result, target: str = "") -> None:
        size = status.st_size if kind is MemberKind.FILE else 0
        self.tree.size_bytes += size
        self.tree.entries.append(
            TreeEntry(
                path,
                kind,
                size,
                target,
                stat.S_IMODE(status.st_mode),
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
            )
        )


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def _path_of(entry: TreeEntry) -> str:
    return entry.path
