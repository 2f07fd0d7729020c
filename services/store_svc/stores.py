"""AddStore, UpdateStore, ListStores."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.errors import (
    InvalidStore,
    PathNotFound,
    StoreExists,
    StoreIdentity,
    StoreNotFound,
    StoreRootTaken,
    UnknownField,
)
from librarian.names import check_store_name, printable
from store_svc import layout
from store_svc.directories import opened
from store_svc.identity import ROOT, found_identity, make_own, make_root, take_lock
from store_svc.kit import Kit
from store_svc.owners import resolve_owner
from store_svc.probe import probe
from store_svc.queries import stores as queries
from store_svc.records import Capabilities, Store
from store_svc.reserving import neighbours_of, room_of
from store_svc.room import Disk, Promised, Room

# Fields of the message that UpdateStore changes; all others are told by the store.
SETTABLE: Final = frozenset(
    {
        "store_class",
        "failure_domain",
        "enabled",
        "ingestible",
        "priority",
        "fill_fraction",
        "max_bytes",
        "max_inodes",
        "file_mode",
        "directory_mode",
        "staging_mode",
        "owner",
        "read_only",
        "client_root",
        "rsync_root",
    }
)
_OWNER_MAY: Final = 0o700
_PERMISSIONS: Final = 0o7777


@dataclass(frozen=True, slots=True)
class Usage:
    """`disk` and `room` None where the store cannot be looked at; `trouble` tells why."""

    store: Store
    disk: Disk | None
    room: Room | None
    promised: Promised
    trouble: str = ""


async def add_store(kit: Kit, connection: AsyncConnection, store: Store) -> Store:
    """`store`: as asked for, without uid and capabilities. In the caller's transaction: the identity file
    is written first, and an attempt that ended before the commit is taken up by the next.

    Raises InvalidStore, PathNotFound, StoreExists, StoreRootTaken.
    """
    check_options(store)
    others = await queries.list_stores(connection)
    if any(other.name == store.name for other in others):
        raise StoreExists(f"there is a store {store.name} already", store=store.name)
    found = await kit.threads.io(_prepare, kit, store, others)
    kit.faults.hit("add_store.prepared")
    await queries.insert_store(connection, found)
    return found


def _prepare(kit: Kit, store: Store, others: Sequence[Store]) -> Store:
    root = _real_root(store.root)
    for other in others:
        theirs = Path(other.root)
        if root == theirs or root in theirs.parents or theirs in root.parents:
            raise StoreRootTaken(
                f"{root} is the root of store {other.name}, or inside or around it",
                remedy="give the store a directory of its own",
                root=root,
                store=other.name,
            )
    try:
        uid = _own_uid(kit, store.name, root)
        make_own(root)
        capabilities: Capabilities = probe(root / layout.OWN, kit.filesystem)
        make_root(root, store.name, uid)
    except OSError as error:
        raise InvalidStore(
            f"{root} cannot be a store's root: {error.strerror}",
            remedy="the store service has to be able to write there",
            root=root,
        ) from error
    return dataclasses.replace(store, root=str(root), store_uid=uid, capabilities=capabilities)


def _real_root(text: str) -> Path:
    root = Path(text)
    if not root.is_absolute():
        raise InvalidStore(
            f"the root {printable(text)!r} is not an absolute path", remedy="give it from / on", root=text
        )
    try:
        real = root.resolve(strict=True)
    except OSError as error:
        raise PathNotFound(
            f"there is no directory {printable(text)!r}",
            remedy="make it first, or mount it",
            root=printable(text),
        ) from error
    if not real.is_dir():
        raise InvalidStore(f"{printable(text)!r} is not a directory", root=printable(text))
    return real


def _own_uid(kit: Kit, name: str, root: Path) -> str:
    """The uid an earlier attempt, or this store in an earlier life of the site, has left; else a new one."""
    found = found_identity(root)
    if found is None:
        return kit.ids.new_uid()
    uid = found.get("store_uid")
    if found.get("name") != name or not isinstance(uid, str) or not layout.is_uid(uid):
        raise StoreRootTaken(
            f"{root} is the root of another store, {printable(str(found.get('name')))!r}",
            remedy=f"give another directory, or that name, or remove {layout.OWN}/{layout.IDENTITY} there",
            root=root,
        )
    try:
        with opened(str(root), at=-1, flags=ROOT) as fd, opened(layout.OWN, at=fd) as own:
            os.close(take_lock(own, name))
    except StoreIdentity as error:
        raise StoreRootTaken(f"another store service works on {root}", root=root) from error
    return uid


def check_options(store: Store) -> None:
    """Raises InvalidStore."""
    check_store_name(store.name)
    resolve_owner(store.owner)
    wrong = ""
    if not 0 < store.fill_fraction <= 1:
        wrong = f"the fill fraction {store.fill_fraction} is not in (0, 1]"
    elif min(store.max_bytes, store.max_inodes) < 0:
        wrong = "a limit is negative"
    elif max(store.file_mode, store.directory_mode, store.staging_mode) > _PERMISSIONS:
        wrong = "a mode has more than permission bits"
    elif any(mode & _OWNER_MAY != _OWNER_MAY for mode in (store.directory_mode, store.staging_mode)):
        wrong = "the service itself must be allowed all in directories it makes"
    elif not store.file_mode & 0o400:
        wrong = "the service itself must be allowed to read files"
    elif store.client_root and not store.client_root.startswith("/"):
        wrong = f"the client root {printable(store.client_root)!r} is not an absolute path"
    elif store.rsync_root and not layout.is_rsync_root(store.rsync_root):
        wrong = f"the rsync root {printable(store.rsync_root)!r} is no host:/path or rsync://host/module/path"
    if wrong:
        raise InvalidStore(f"store {store.name}: {wrong}", store=store.name)


async def update_store(connection: AsyncConnection, name: str, changes: dict[str, Any]) -> Store:
    """`changes`: new values by field. Raises StoreNotFound, UnknownField, InvalidStore."""
    unknown = sorted(changes.keys() - SETTABLE)
    if unknown:
        raise UnknownField(
            f"{', '.join(map(repr, map(printable, unknown)))} cannot be set",
            remedy=f"settable are {', '.join(sorted(SETTABLE))}",
            field=printable(unknown[0]),
        )
    locked = await queries.lock_stores(connection, [name])
    if not locked:
        raise StoreNotFound(f"there is no store {printable(name)!r} here", store=printable(name))
    changed = dataclasses.replace(locked[0], **changes)
    check_options(changed)
    await queries.update_store(connection, changed)
    return changed


async def list_stores(kit: Kit) -> list[Usage]:
    """In placement order, each with how it is now."""
    async with kit.database.transaction() as connection:
        stores = await queries.list_stores(connection)
    return [await usage_of(kit, store) for store in stores]


async def get_store(kit: Kit, name: str) -> Usage:
    """Raises StoreNotFound."""
    async with kit.database.transaction() as connection:
        found = await queries.get_store(connection, name)
    if found is None:
        raise StoreNotFound(f"there is no store {printable(name)!r} here", store=printable(name))
    return await usage_of(kit, found)


async def usage_of(kit: Kit, store: Store) -> Usage:
    if not store.enabled:
        return Usage(store, None, None, Promised(), "it is turned off")
    root = kit.roots.of(store)
    try:
        device = await kit.threads.io(root.device)
        disk = await kit.threads.io(root.disk)
    except StoreIdentity as error:
        return Usage(store, None, None, Promised(), error.message)
    available, promised = await room_of(kit, store, await neighbours_of(kit, store, device), disk)
    return Usage(store, disk, available, promised)
