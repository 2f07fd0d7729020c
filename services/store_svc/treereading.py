"""Reads a tree where it lies: what is in it, and then every byte, with all cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Final

from librarian.checksums import Checksum
from librarian.errors import Cancelled, PathNotFound, SourceChanged, SpecialFile, StagedFileChanged
from librarian.fileerrors import reading_error
from librarian.manifests import MAX_MEMBERS, DatasetKind, MemberKind, too_many_members
from librarian.names import check_member_path, printable
from store_svc import claims, layout
from store_svc.directories import READ, below, opened
from store_svc.identity import OpenRoot
from store_svc.kit import Threads, together
from store_svc.looking import SPECIAL, look, walk_dataset
from store_svc.records import Fingerprint
from store_svc.taking import SealedEntry, hash_unchanged

_GROUP_BYTES: Final = 64 << 20


@dataclass(slots=True)
class Tree:
    name: str
    kind: DatasetKind
    entries: list[SealedEntry]
    looks: Fingerprint
    directory_count: int


class TreeReader:
    """Set `stop` when nobody waits any more: reading ends with Cancelled."""

    def __init__(self, threads: Threads, root: OpenRoot) -> None:
        self._threads = threads
        self._root = root
        self.hashed_bytes = 0
        self.stop = Event()

    def look(self, name: str) -> Tree:
        """Raises PathNotFound, SpecialFile, InvalidName, InvalidSize."""
        folders, last = layout.split_name(name)
        try:
            with below(self._root.root, folders) as parent:
                found = look(parent, last)
                if found is None:
                    raise _nothing_at(name)
                kind = found[0]
                entries: list[SealedEntry] = []
                for entry in walk_dataset(parent, last):
                    self._check_entry(name, kind, entry)
                    entries.append(entry)
                    if len(entries) > MAX_MEMBERS:
                        raise too_many_members(len(entries))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _nothing_at(name) from error
        except OSError as error:
            raise reading_error(error, name) from error
        count = _folders(entries) if kind is DatasetKind.DIRECTORY else 0
        return Tree(name, kind, entries, claims.fingerprint(entries), count)

    def _check_entry(self, name: str, kind: DatasetKind, entry: SealedEntry) -> None:
        if kind is DatasetKind.DIRECTORY:
            check_member_path(entry.path)
            claims.check_target(entry.link_target, entry.path)
        shown = printable(f"{name}/{entry.path}" if entry.path else name)
        if entry.size_bytes == SPECIAL or (kind is DatasetKind.FILE and entry.kind is not MemberKind.FILE):
            what = "a symbolic link" if entry.kind is MemberKind.SYMLINK else "a FIFO, socket or device"
            raise SpecialFile(f"{shown!r} is {what}, which cannot be kept", path=shown)

    async def read(self, tree: Tree, algorithm: str) -> Checksum:
        """Fills in the checksums. Raises SourceChanged, Unreadable, ReadFailed, LinkOutside."""
        files = [entry for entry in tree.entries if entry.kind is MemberKind.FILE]
        files.sort(key=lambda entry: -entry.size_bytes)
        groups: list[list[SealedEntry]] = []
        room = 0
        for entry in files:
            if entry.size_bytes >= room:
                groups.append([])
                room = _GROUP_BYTES
            groups[-1].append(entry)
            room -= entry.size_bytes
        alone = len(files) == 1
        await together(
            *(self._threads.hash(self._hash_group, tree.name, group, algorithm, alone) for group in groups)
        )
        return claims.digest_of(tree.kind, algorithm, claims.members_of(tree.entries))

    def _hash_group(self, name: str, group: Sequence[SealedEntry], algorithm: str, alone: bool) -> None:  # noqa: FBT001 - through an executor
        for entry in group:
            path = f"{name}/{entry.path}" if entry.path else name
            *folders, last = path.split("/")
            try:
                with below(self._root.root, folders) as folder, opened(last, at=folder, flags=READ) as fd:
                    entry.checksum = hash_unchanged(
                        fd, entry, algorithm, printable(path), progress=self._count, alone=alone
                    )
            except StagedFileChanged as error:
                raise SourceChanged(f"{printable(path)!r} changed while it was read", path=path) from error
            except OSError as error:
                raise reading_error(error, path) from error

    def _count(self, count: int) -> None:
        if self.stop.is_set():
            raise Cancelled("nobody waits for this any more")
        self.hashed_bytes += count


def _folders(entries: Sequence[SealedEntry]) -> int:
    """The tree's own folder, and those its members lie in."""
    found = {""}
    for entry in entries:
        above = entry.path.rpartition("/")[0]
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return len(found)


def _nothing_at(name: str) -> PathNotFound:
    shown = printable(name)
    return PathNotFound(f"there is nothing at {shown!r} on the store", path=shown)
