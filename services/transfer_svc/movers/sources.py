"""The bytes of this side: where this process sees a store, and what of a dataset lies there.

Blocking where it says so. Nothing is hashed: what counts is what the receiver reads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from librarian.api.store.v1 import store_pb2
from librarian.errors import (
    InvalidName,
    KindMismatch,
    LibrarianError,
    LinkOutside,
    PathNotFound,
    ReadFailed,
    SourceChanged,
    SourceVanished,
    SpecialFile,
    StoreDisabled,
    StoreNotFound,
    Unavailable,
    Unreadable,
)
from librarian.fetch.ways import proven_path
from librarian.fileerrors import reading_error
from librarian.manifests import DatasetKind, MemberKind
from librarian.names import RESERVED_COMPONENT, check_name, printable
from librarian.trees import Tree, TreeEntry, walk_tree
from transfer_svc.movers.base import Item
from transfer_svc.movers.tasks import Hands
from transfer_svc.stores import Stores

_IDENTITY = f"{RESERVED_COMPONENT}/store.json"


@dataclass(frozen=True, slots=True)
class Root:
    """A store's root as client hosts see it, and what proves that it is that store's."""

    store: str
    grant: store_pb2.ReadGrant

    @property
    def path(self) -> str:
        return self.grant.path

    def is_seen(self) -> bool:
        """Blocking. Whether this process sees that very store there, now."""
        return proven_path(self.grant) is not None


@dataclass(frozen=True, slots=True)
class Sight:
    """A dataset as it lies there: a file's entry (its path is empty) or a tree."""

    location: str
    entry: TreeEntry | None
    tree: Tree | None

    @property
    def entries(self) -> list[TreeEntry]:
        if self.tree is not None:
            return self.tree.entries
        assert self.entry is not None, "a file has its entry"
        return [self.entry]

    def location_of(self, entry: TreeEntry) -> str:
        return f"{self.location}/{entry.path}" if entry.path else self.location


async def roots_of(
    stores: Stores, hands: Hands, names: Iterable[str]
) -> tuple[dict[str, Root], dict[str, LibrarianError]]:
    """Of the stores in sight of this process; and why nothing can be read of some. A store that is well
    and out of sight is in neither.
    """
    roots: dict[str, Root] = {}
    troubles: dict[str, LibrarianError] = {}
    for name in names:
        try:
            root = await _root_of(stores, name)
        except LibrarianError as error:
            troubles[name] = error
            continue
        if await hands.do(root.is_seen):
            roots[name] = root
    return roots, troubles


async def _root_of(stores: Stores, name: str) -> Root:
    service = await stores.service_of(name)
    answer = await service.ListStores(store_pb2.ListStoresRequest())
    for store in answer.stores:
        if store.name != name:
            continue
        if not store.enabled:
            raise StoreDisabled(f"store {name} is turned off", store=name)
        path = (store.client_root or store.root).rstrip("/")
        grant = store_pb2.ReadGrant(path=path, proof_path=f"{path}/{_IDENTITY}", store_uid=store.store_uid)
        return Root(name, grant)
    raise StoreNotFound(f"there is no store {name}", store=name)


def unseen(store: str) -> LibrarianError:
    return Unavailable(
        f"store {store} is out of sight of the worker",
        remedy="mount it where its client_root says, or give the route another way (`--via stream`)",
        store=store,
    )


@dataclass(slots=True)
class Looker:
    """Looks at datasets of one store. Blocking, for one thread."""

    root: Root
    _folders: dict[str, bool] = field(default_factory=dict)
    _real: str = ""

    def look(self, item: Item) -> Sight:
        """Raises SourceVanished, SourceChanged, ReadFailed, Unavailable (the store itself is gone)."""
        try:
            return self._look(item)
        except LibrarianError as error:
            raise self.told(error) from error

    def told(self, error: LibrarianError) -> LibrarianError:
        """What is wrong with this side's bytes, in the classes of the movers."""
        if isinstance(error, PathNotFound):
            if not self.root.is_seen():
                return Unavailable(f"store {self.root.store} is out of sight", store=self.root.store)
            return SourceVanished(error.message, **error.metadata)
        if isinstance(error, KindMismatch | SpecialFile | LinkOutside | InvalidName):
            return SourceChanged(error.message, remedy=_CHANGED_REMEDY, **error.metadata)
        if isinstance(error, Unreadable):
            return ReadFailed(error.message, remedy=error.remedy, **error.metadata)
        return error

    def _look(self, item: Item) -> Sight:
        name = check_name(item.name)
        location = f"{self.root.path}/{name}"
        if not self._stands_below(name.rpartition("/")[0]):
            raise KindMismatch(f"a folder of {printable(name)!r} is a link")
        if item.kind is DatasetKind.DIRECTORY:
            tree = walk_tree(Path(location))
            if (tree.size_bytes, len(tree.entries)) != (item.size_bytes, item.member_count):
                raise _differs(item, tree.size_bytes, len(tree.entries))
            return Sight(location, None, tree)
        entry = _file_entry(location)
        if entry.size_bytes != item.size_bytes:
            raise _differs(item, entry.size_bytes, 1)
        return Sight(location, entry, None)

    def _stands_below(self, folder: str) -> bool:
        """No part of the way to it is a link: those would lead out of the store."""
        known = self._folders.get(folder)
        if known is None:
            self._real = self._real or os.path.realpath(self.root.path)
            real = os.path.realpath(f"{self._real}/{folder}") if folder else self._real
            known = self._folders[folder] = real == (f"{self._real}/{folder}" if folder else self._real)
        return known


_CHANGED_REMEDY = "verify the dataset: its copy here is not what was recorded"


def _file_entry(location: str) -> TreeEntry:
    try:
        status = os.lstat(location)
    except OSError as error:
        raise reading_error(error, location) from error
    if not stat.S_ISREG(status.st_mode):
        raise KindMismatch(f"{printable(location)!r} is not a regular file", path=printable(location))
    return TreeEntry(
        "",
        MemberKind.FILE,
        status.st_size,
        "",
        stat.S_IMODE(status.st_mode),
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def _differs(item: Item, size_bytes: int, member_count: int) -> LibrarianError:
    name = printable(item.name)
    if member_count < item.member_count:
        missing = item.member_count - member_count
        return SourceVanished(f"{missing} members of {name!r} are not there", name=name)
    return SourceChanged(
        f"{name!r} has {size_bytes} bytes in {member_count} members, and was recorded with"
        f" {item.size_bytes} in {item.member_count}",
        remedy=_CHANGED_REMEDY,
        name=name,
    )


def check_same(status: os.stat_result, entry: TreeEntry, location: str) -> None:
    """Raises SourceChanged unless the open file is the one that was looked at."""
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (
        entry.size_bytes,
        entry.mtime_ns,
        entry.inode,
    ):
        shown = printable(location)
        raise SourceChanged(f"{shown!r} changed while it was read", remedy=_CHANGED_REMEDY, path=shown)
