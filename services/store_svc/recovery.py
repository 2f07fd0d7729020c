"""Finishes or rolls back what a crash left, and keeps house. At start, and again every few minutes.

What belongs to a known upload is decided by its state. What belongs to none may be of a call under way
whose row is not committed yet, or put there by hand: it goes only when it is old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from librarian.errors import LibrarianError
from store_svc import layout, staging
from store_svc.cleaning import clean, tidy_areas
from store_svc.committing import Committer
from store_svc.directories import below, lstat, names_in, remove
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.outcomes import each
from store_svc.queries import moves
from store_svc.queries import stores as store_queries
from store_svc.queries import tickets as ticket_queries
from store_svc.queries import uploads as queries
from store_svc.records import Store
from store_svc.tables import idempotency
from svckit.idempotency import sweep

EVERY_SECONDS: Final = 300.0
# Older than any call can be.
STRAY_AGE: Final = timedelta(days=1)
_FORGOTTEN_AFTER: Final = timedelta(days=7)
_CLEANED_AT_ONCE: Final = 500
_SWEPT_AT_ONCE: Final = 10_000


class Recovery:
    def __init__(self, kit: Kit, committer: Committer) -> None:
        self._kit = kit
        self._committer = committer

    async def run_forever(self) -> None:
        while True:
            await self.run_once()
            await asyncio.sleep(EVERY_SECONDS)

    async def run_once(self) -> None:
        """Trouble with one store, or with the database, is logged and waits for the next time."""
        try:
            async with self._kit.database.transaction() as connection:
                stores = await store_queries.list_stores(connection)
            await self._sweep()
        except LibrarianError as error:
            self._kit.logger.warning("recovery_postponed", reason=error.reason, message=error.message)
            return
        await asyncio.gather(*(self._recover(store) for store in stores if store.enabled))

    async def _recover(self, store: Store) -> None:
        try:
            await self._committer.resume(store)
            async with self._kit.open_root(store) as root:
                await self._clean(store, root)
                await self._sweep_strays(store, root)
        except (LibrarianError, OSError) as error:
            self._kit.logger.warning("store_not_recovered", store=store.name, error=str(error))

    async def _clean(self, store: Store, root: OpenRoot) -> None:
        async with self._kit.database.transaction() as connection:
            left = await queries.uncleaned(connection, store.name, _CLEANED_AT_ONCE)
        await clean(self._kit, store, root, left)
        areas = await self._kit.threads.io(staging.list_areas, root)
        await tidy_areas(self._kit, store, root, areas)

    async def _sweep_strays(self, store: Store, root: OpenRoot) -> None:
        before = (self._kit.clock.now() - STRAY_AGE).timestamp()
        old = await self._kit.threads.io(_old_entries, root, before)
        async with self._kit.database.transaction() as connection:
            known = await queries.known(connection, [uid for _, _, uid in old if uid])
        strays = [(folder, name) for folder, name, uid in old if uid not in known]
        for (folder, name), error in zip(
            strays, await self._kit.threads.io(_remove_all, root, strays), strict=True
        ):
            path = "/".join((*folder, name))
            if error is None:
                self._kit.logger.info("stray_removed", store=store.name, path=path)
            else:
                self._kit.logger.warning("stray_not_removed", store=store.name, path=path, error=str(error))

    async def _sweep(self) -> None:
        """Rows that nobody asks for any more."""
        now = self._kit.clock.now()
        async with self._kit.database.transaction() as connection:
            await moves.sweep(connection, now - _FORGOTTEN_AFTER, _SWEPT_AT_ONCE)
            await sweep(connection, idempotency, now=now)
            await ticket_queries.forget_revoked(connection, now - 2 * self._kit.tickets.lifetime)


Stray = tuple[tuple[str, ...], str]


def _old_entries(root: OpenRoot, before: float) -> list[tuple[tuple[str, ...], str, str]]:
    """Folder, name and upload of entries of ours that last changed before then."""
    found: list[tuple[tuple[str, ...], str, str]] = []
    for name in names_in(root.sealed):
        status = lstat(name, at=root.sealed)
        if status is not None and status.st_ctime < before:
            found.append(((layout.SEALED,), name, layout.upload_of(name)))
    for area in staging.list_areas(root):
        found += [
            ((layout.STAGING, area), name, name if layout.is_uid(name) else "")
            for name, changed in staging.staged_in(root, area)
            if changed < before
        ]
    for name in names_in(root.own):
        status = lstat(name, at=root.own)
        if name.startswith(layout.PROBE) and status is not None and status.st_ctime < before:
            found.append(((), name, ""))
    return found


def _remove_all(root: OpenRoot, strays: Sequence[Stray]) -> list[Exception | None]:
    return each(strays, lambda stray: _remove_one(root, stray))


def _remove_one(root: OpenRoot, stray: Stray) -> None:
    folder, name = stray
    with below(root.own, folder) as fd:
        remove(name, at=fd)
