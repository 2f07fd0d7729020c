"""The store service put together, whichever door calls come through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from store_svc.committing import Committer
from store_svc.kit import Kit
from store_svc.queries import tickets as queries
from store_svc.records import Store
from store_svc.streams import Cuts, OpenUploads


@dataclass(frozen=True, slots=True)
class House:
    kit: Kit
    open_uploads: OpenUploads
    committer: Committer
    cuts: Cuts

    @classmethod
    def of(cls, kit: Kit) -> House:
        open_uploads = OpenUploads(kit)
        return cls(kit, open_uploads, Committer(kit, open_uploads), Cuts())

    async def revoke(self, token_ids: Collection[str]) -> None:
        """Kept first, so that a restart forgets nothing; then refused here, and streams cut."""
        async with self.kit.database.transaction() as connection:
            await queries.revoke(connection, list(token_ids), self.kit.clock.now())
        self.kit.tickets.revoke(token_ids)
        self.cuts.cut(token_ids)

    def store_changed(self, store: Store) -> None:
        """One that was turned off is let go of, so that its file system can be unmounted."""
        self.open_uploads.store_changed(store)
        if not store.enabled:
            self.kit.roots.release(store.name)
