"""The store service put together, whichever door calls come through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from store_svc.committing import Committer
from store_svc.kit import Kit
from store_svc.queries import tickets as queries
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

    def store_changed(self, name: str, *, enabled: bool) -> None:
        """What is remembered of its options is read again; turned off, it is let go of."""
        self.open_uploads.forget_store(name)
        if not enabled:
            self.kit.roots.release(name)
