"""One dataset out: from the best copy that proves good, by the best way that proves to work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.connection.channel import SiteChannel
from librarian.connection.doors import opened_doors
from librarian.errors import LibrarianError
from librarian.fetch.local import Unseen, fetch_local
from librarian.fetch.manifest import wanted_members
from librarian.fetch.parts import PartFile, PartLock, corrupt
from librarian.fetch.place import make_directories, make_links, place
from librarian.fetch.stream import StreamFetch
from librarian.fetch.target import Target, already_there, resolve_target
from librarian.fetch.ways import begin_read, proven_path, stores_of
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.progress import Progress
from librarian.work import Work


@dataclass(frozen=True, slots=True)
class GetResult:
    """`path` is what appeared; `present_count` of the members were there before, or all of it was."""

    dataset: catalog_pb2.Dataset
    path: Path
    member_count: int
    present_count: int
    size_bytes: int
    already_there: bool


class Fetch(Work):
    def __init__(
        self, site: SiteChannel, dataset: catalog_pb2.Dataset, progress: Progress, *, store: str = ""
    ) -> None:
        super().__init__(progress)
        self._site = site
        self._dataset = dataset
        self._store = store
        self._umask = current_umask()

    async def run(self, destination: str, globs: Sequence[str], *, force: bool) -> GetResult:
        dataset = self._dataset
        stores = stores_of(dataset, self._store)
        members = await wanted_members(self._site, dataset, globs)
        kind = DatasetKind(dataset.kind)
        size = sum(member.size_bytes for member in members)
        target = await self.in_thread(lambda: resolve_target(kind, dataset.name, dataset.uid, destination))
        there = await self.in_thread(lambda: already_there(target, members, force=force))
        missing = [member for member in members if member.path not in there]
        # A directory with nothing in it is still to be made.
        wanting = bool(missing) or not await self.in_thread(lambda: os.path.lexists(target.final))
        if wanting:
            await self._fetch_missing(target, stores, missing, force=force)
        return GetResult(dataset, target.final, len(members), len(there), size, already_there=not wanting)

    async def _fetch_missing(
        self, target: Target, stores: Sequence[str], members: Sequence[Member], *, force: bool
    ) -> None:
        total = sum(member.size_bytes for member in members)
        self.progress.begin("fetching", total_bytes=total, total_count=len(members))
        lock = await self.in_thread(lambda: PartLock(target))
        try:
            if target.kind is DatasetKind.DIRECTORY:
                await self.in_thread(lambda: make_directories(target, members))
            files = [member for member in members if member.kind is MemberKind.FILE]
            await self._from_stores(target, stores, files)
            await self.in_thread(lambda: make_links(target, members))
            await self.in_thread(lambda: place(target, members, self._umask, force=force))
        finally:
            lock.release()

    async def _from_stores(self, target: Target, stores: Sequence[str], files: Sequence[Member]) -> None:
        """Each store is asked for what those before it could not give well."""
        errors: dict[str, LibrarianError] = {}
        missing = list(files)
        for store in stores:
            if not missing:
                return
            try:
                errors |= await self._from_store(target, store, missing)
            except LibrarianError as error:
                errors |= {member.path: error for member in missing if member.path not in errors}
                continue
            missing = [member for member in missing if member.path in errors]
        if missing:
            first = errors[missing[0].path]
            if len(missing) > 1:
                first.message += f" (and {len(missing) - 1} more members)"
            raise first

    async def _from_store(
        self, target: Target, store: str, files: Sequence[Member]
    ) -> dict[str, LibrarianError]:
        grant = await begin_read(self._site, store, self._dataset.uid)
        path = await self.in_thread(lambda: proven_path(grant))
        troubles: dict[str, LibrarianError | Unseen] = {member.path: Unseen() for member in files}
        if path is not None:
            troubles = await self.in_thread(
                lambda: fetch_local(
                    path,
                    files,
                    target,
                    self.tick,
                    store=store,
                    name=self._dataset.name,
                    umask=self._umask,
                )
            )
        unseen = [member for member in files if isinstance(troubles.get(member.path), Unseen)]
        errors = {path: error for path, error in troubles.items() if isinstance(error, LibrarianError)}
        if unseen:
            errors |= await self._by_stream(target, grant, unseen)
        return errors

    async def _by_stream(
        self, target: Target, grant: store_pb2.ReadGrant, files: Sequence[Member]
    ) -> dict[str, LibrarianError]:
        errors: dict[str, LibrarianError] = {}

        def on_done(part: PartFile) -> None:
            if part.is_verified():
                part.finish(self._umask)
                self.progress.add_count(1)
            else:
                errors[part.member.path] = corrupt(part.member, self._dataset.name, grant.store)
                part.start_again()

        parts = [PartFile(target.part_of(member.path), member, self.tick) for member in files]
        async with opened_doors(self._site, grant.store, grant.data_address, grant.ticket) as doors:
            fetch = StreamFetch(self._site, doors, self._dataset.uid, grant.store, self._site.patience())
            await fetch.run(parts, on_done)
        return errors


def current_umask() -> int:
    """There is no way to ask without setting it; a thread making a file just then is the lesser evil."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
