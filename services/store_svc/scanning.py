"""ScanStore: what is really there against what the store holds. Touches nothing, reads no file.

Both sides are gone through in pages, so memory does not grow with the store.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final

from librarian.names import printable
from store_svc import claims, layout, staging
from store_svc.directories import below, names_in
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.lifecycle import GIVEN_UP
from store_svc.looking import look, walk_dataset
from store_svc.queries import holdings as queries
from store_svc.queries import uploads as upload_queries
from store_svc.records import Holding, Store

_PAGE: Final = 500
_TELL_SECONDS: Final = 5.0


class Reason(StrEnum):
    MISSING = "MISSING"
    DARK = "DARK"
    CHANGED = "CHANGED"
    STRAY = "STRAY"


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """`path` relative to the root."""

    reason: Reason
    path: str
    uid: str = ""
    detail: str = ""


@dataclass(slots=True)
class ScanProgress:
    """`scanned_count`: datasets and other entries looked at so far."""

    scanned_count: int = 0
    findings: list[ScanFinding] = field(default_factory=list)


async def scan_store(kit: Kit, store_name: str) -> AsyncIterator[ScanProgress]:
    """Raises StoreNotFound, StoreDisabled, StoreIdentity."""
    store = await kit.store(store_name)
    count = 0
    told = kit.clock.monotonic()
    async with kit.open_root(store) as root:
        for part in (_held(kit, store, root), _dark(kit, store, root), _strays(kit, root)):
            async for looked_at, findings in part:
                count += looked_at
                if findings or kit.clock.monotonic() - told > _TELL_SECONDS:
                    told = kit.clock.monotonic()
                    yield ScanProgress(count, findings)
    yield ScanProgress(count)


Step = tuple[int, list[ScanFinding]]


async def _held(kit: Kit, store: Store, root: OpenRoot) -> AsyncIterator[Step]:
    """What is held and is not there, or looks otherwise."""
    name = uid = ""
    while True:
        async with kit.database.transaction() as connection:
            page = await queries.holdings_after(connection, store.name, name, uid, _PAGE)
        if not page:
            return
        name, uid = page[-1].name, page[-1].uid
        yield len(page), await kit.threads.io(_compare_page, root, page)


def _compare_page(root: OpenRoot, page: Sequence[Holding]) -> list[ScanFinding]:
    return [finding for holding in page if (finding := _compare(root, holding)) is not None]


def _compare(root: OpenRoot, holding: Holding) -> ScanFinding | None:
    folders, last = layout.split_name(holding.name)
    try:
        with below(root.root, folders) as parent:
            found = look(parent, last)
            if found is None:
                return ScanFinding(Reason.MISSING, holding.name, holding.uid, "nothing is there")
            if found[0] is not holding.kind:
                detail = f"it was a {holding.kind.name.lower()} and is none now"
                return ScanFinding(Reason.CHANGED, holding.name, holding.uid, detail)
            looks = claims.fingerprint(walk_dataset(parent, last))
    except (FileNotFoundError, NotADirectoryError):
        return ScanFinding(Reason.MISSING, holding.name, holding.uid, "its folder is not there")
    except OSError as error:
        return ScanFinding(
            Reason.CHANGED, holding.name, holding.uid, f"it cannot be looked at: {error.strerror}"
        )
    if looks.layout != holding.fingerprint.layout:
        detail = "names, sizes or times of its files are others: verify it"
        return ScanFinding(Reason.CHANGED, holding.name, holding.uid, detail)
    return None


async def _dark(kit: Kit, store: Store, root: OpenRoot) -> AsyncIterator[Step]:
    """What is there and is no dataset: the highest folder with nothing held below it, or a file."""
    pending: list[list[str]] = [[]]
    while pending:
        parts = pending.pop()
        entries = iter(await kit.threads.io(_entries, root, parts))
        while page := dict(islice(entries, _PAGE)):
            names = [name for name in page if _is_text(name)]
            async with kit.database.transaction() as connection:
                held = await queries.names_held(connection, store.name, names)
                folders = [name for name in names if page[name] and name not in held]
                with_data = await queries.folders_with_holdings(connection, store.name, folders)
            pending += [name.split("/") for name in with_data]
            dark = [name for name in page if name not in held and name not in with_data]
            findings = [
                ScanFinding(Reason.DARK, printable(name), detail="a folder" if page[name] else "a file")
                for name in dark
            ]
            yield len(page) - len(held), findings


def _entries(root: OpenRoot, parts: list[str]) -> list[tuple[str, bool]]:
    """Paths in a folder and whether each is a folder itself; `.librarian` is left out."""
    try:
        with below(root.root, parts) as fd, os.scandir(fd) as entries:
            return sorted(
                ("/".join([*parts, entry.name]), entry.is_dir(follow_symlinks=False))
                for entry in entries
                if parts or entry.name != layout.OWN
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _strays(kit: Kit, root: OpenRoot) -> AsyncIterator[Step]:
    """What lies in our own areas and belongs to no upload that is alive."""
    entries = await kit.threads.io(own_entries, root)
    for start in range(0, len(entries), _PAGE):
        page = entries[start : start + _PAGE]
        async with kit.database.transaction() as connection:
            known = await upload_queries.known(connection, [uid for _, uid in page if uid])
        yield (
            len(page),
            [
                ScanFinding(Reason.STRAY, printable(path), uid, "left by no upload that is under way")
                for path, uid in page
                if uid not in known or known[uid] in GIVEN_UP
            ],
        )


def own_entries(root: OpenRoot) -> list[tuple[str, str]]:
    """Paths in staging and sealed, with the upload each would be of."""
    found = [
        (f"{layout.OWN}/{layout.SEALED}/{name}", layout.upload_of(name)) for name in names_in(root.sealed)
    ]
    for area in staging.list_areas(root):
        found += [
            (f"{layout.OWN}/{layout.STAGING}/{area}/{name}", name if layout.is_uid(name) else "")
            for name, _ in staging.staged_in(root, area)
        ]
    return found
