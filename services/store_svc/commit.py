"""Carries a batch of uploads from SEALED to COMMITTED: the heart of promises 1 to 3.

- seal: out of every client's reach (slices of the batch side by side)
- read: every byte again, while it goes to the medium (all cores), but of files that were read behind
  their writer and provably stayed as they were
- finish: compare with the claims, write the sidecars (slices)
- sync, one for the batch; then VERIFIED or FAILED in the database
- place: to the final path, never over anything (slices)
- sync, one for the batch; then COMMITTED in the database

A crash between any two of these leaves files and rows from which the same run ends in the same outcome.
Trouble of one upload stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from librarian.errors import LibrarianError
from store_svc.claims import slices
from store_svc.cleaning import clean, tidy_areas
from store_svc.directories import Parents
from store_svc.following import Early
from store_svc.identity import OpenRoot
from store_svc.kit import Kit, together
from store_svc.lifecycle import UploadState
from store_svc.outcomes import PASSING, each, not_durable, path_error, stored, tell
from store_svc.owners import resolve_owner
from store_svc.placing import Placer, PlaceTaken
from store_svc.queries import holdings as holding_queries
from store_svc.queries import moves
from store_svc.queries import stores as store_queries
from store_svc.queries import uploads as queries
from store_svc.records import Store, Upload, Verified
from store_svc.sealing import seal
from store_svc.verifying import Progress, Sealed, finish, read_all

Item = TypeVar("Item")
Done = TypeVar("Done")

# Below this many, handing a slice to another thread costs more than it gains.
_SLICE: Final = 32


class CommitRun:
    """One run over uploads of one store that nobody else is at work on. `troubles`: why those that are
    not final are not; the next run takes them up again.
    """

    def __init__(self, kit: Kit, store: Store, root: OpenRoot, progress: Progress, early: Early) -> None:
        self._kit = kit
        self._store = store
        self._root = root
        self._progress = progress
        self._early = early
        self._hit = kit.faults.hit
        self.troubles: dict[str, LibrarianError] = {}

    async def run(self, upload_ids: Sequence[str]) -> None:
        """Raises Unavailable where the database does not answer; nothing is lost by that."""
        async with self._kit.database.transaction() as connection:
            uploads = list((await queries.get_uploads(connection, upload_ids)).values())
        self._hit("commit.begin")
        sealed = [upload for upload in uploads if upload.state is UploadState.SEALED]
        if sealed:
            await self._verify(sealed)
        async with self._kit.place_locks[self._store.name]:
            # Whatever is VERIFIED on this store, also what a crash left: an upload that was placed and
            # not recorded must be recorded before another one finds its place taken.
            async with self._kit.database.transaction() as connection:
                verified = await queries.verified_uploads(connection, self._store.name)
            if verified:
                await self._place(verified)
        self._hit("commit.before_tidy")
        await tidy_areas(self._kit, self._store, self._root, {upload.area for upload in uploads})
        self._hit("commit.end")

    async def _verify(self, uploads: Sequence[Upload]) -> None:
        """SEALED -> VERIFIED or FAILED."""
        outcomes: dict[str, Verified | Sealed | Exception] = {}
        sealed = await self._slices(uploads, lambda part: each(part, self._seal_one))
        for upload, outcome in zip(uploads, sealed, strict=True):
            outcomes[upload.upload_id] = outcome
        self._hit("commit.sealed")
        unread = [outcome for outcome in outcomes.values() if isinstance(outcome, Sealed)]
        if unread:
            await read_all(self._kit.threads, self._root, unread, self._progress)
            self._hit("commit.read")
            finished = await self._slices(unread, lambda part: each(part, self._finish_one))
            for one, result in zip(unread, finished, strict=True):
                outcomes[one.upload.upload_id] = result
        self._hit("commit.finished")
        good = [outcome for outcome in outcomes.values() if isinstance(outcome, Verified)]
        errors = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Exception)}
        if good and (trouble := await self._sync()) is not None:
            errors |= {one.upload_id: trouble for one in good}
            good = []
        self._hit("commit.synced_verified")
        if good:
            async with self._kit.database.transaction() as connection:
                await moves.verify(connection, good, self._kit.clock.now())
                self._hit("commit.before_verified")
            self._hit("commit.after_verified")
        await self._fail(uploads, errors)

    def _seal_one(self, upload: Upload) -> Sealed | Verified:
        """Small uploads, and those hashed while they came, are done at once; the others are left for all
        cores to read.
        """
        self._hit("commit.seal_one")
        early = self._early.get(upload.upload_id, {})
        sealed = Sealed(upload, seal(self._kit.filesystem, self._root, upload, early))
        self._hit("commit.sealed_one")
        if any(sealed.unread()):
            return sealed
        self._progress(upload.upload_id, sealed.tree.size_bytes)
        return self._finish_one(sealed)

    def _finish_one(self, sealed: Sealed) -> Verified:
        if sealed.error is not None:
            raise sealed.error
        found = finish(self._root, self._store, sealed)
        self._hit("commit.finished_one")
        return found

    async def _place(self, uploads: Sequence[Upload]) -> None:
        """VERIFIED -> COMMITTED or FAILED. One batch at a time on a store: who comes second finds a row
        that tells who was first.
        """
        outcomes = await self._slices(uploads, self._place_slice)
        self._hit("commit.placed")
        placed, taken = [], []
        errors: dict[str, Exception] = {}
        for upload, outcome in zip(uploads, outcomes, strict=True):
            if outcome is None:
                placed.append(upload)
            elif isinstance(outcome, PlaceTaken):
                taken.append(upload)
            else:
                errors[upload.upload_id] = outcome
        if placed and (trouble := await self._sync()) is not None:
            errors |= {upload.upload_id: trouble for upload in placed}
            placed = []
        self._hit("commit.synced_placed")
        if placed:
            await self._commit(placed)
        if taken:
            errors |= await self._who_holds(taken)
        await self._fail(uploads, errors)

    def _place_slice(self, uploads: Sequence[Upload]) -> list[Exception | None]:
        store = self._store
        check_case = not store.capabilities.case_sensitive
        owner = resolve_owner(store.owner)
        with Parents(self._root.root, store.directory_mode, owner, check_case=check_case) as parents:
            placer = Placer(self._kit.filesystem, self._root, store, parents)
            return each(uploads, lambda upload: self._place_one(placer, upload))

    def _place_one(self, placer: Placer, upload: Upload) -> None:
        placer.place(upload)
        self._hit("commit.placed_one")

    async def _commit(self, placed: Sequence[Upload]) -> None:
        async with self._kit.database.transaction() as connection:
            ids = [upload.upload_id for upload in placed]
            known = [upload.dataset_uid for upload in placed if upload.dataset_uid]
            gone = await holding_queries.delete_replaced(connection, self._store.name, known) if known else []
            rows = await moves.commit(connection, ids, self._kit.clock.now())
            await store_queries.count_held(
                connection,
                self._store.name,
                datasets=len(rows) - len(gone),
                size_bytes=sum(row.size_bytes for row in rows) - sum(row.size_bytes for row in gone),
                inodes=sum(row.inode_count for row in rows) - sum(row.inode_count for row in gone),
            )
            self._hit("commit.before_committed")
        self._hit("commit.after_committed")

    async def _who_holds(self, taken: Sequence[Upload]) -> Mapping[str, Exception]:
        async with self._kit.database.transaction() as connection:
            names = sorted({upload.name for upload in taken})
            holders = await holding_queries.holders_of(connection, self._store.name, names)
            uids = {uid for found in holders.values() for uid in found}
            held = await holding_queries.get_holdings(connection, self._store.name, uids)
        return {
            upload.upload_id: path_error(
                upload, [held[uid] for uid in sorted(holders[upload.name] & held.keys())]
            )
            for upload in taken
        }

    async def _fail(self, uploads: Sequence[Upload], errors: Mapping[str, Exception]) -> None:
        """Those whose error decides their fate are FAILED and leave nothing; the others are troubles."""
        failed = {}
        for upload in uploads:
            error = errors.get(upload.upload_id)
            if error is None:
                continue
            told = tell(self._kit, self._store, upload, error)
            if isinstance(told, PASSING):
                self.troubles[upload.upload_id] = told
            else:
                failed[upload.upload_id] = stored(told)
        if not failed:
            return
        async with self._kit.database.transaction() as connection:
            await moves.fail(connection, failed, self._kit.clock.now())
            self._hit("commit.before_failed")
        self._hit("commit.after_failed")
        given_up = [upload for upload in uploads if upload.upload_id in failed]
        await clean(self._kit, self._store, self._root, given_up)

    async def _sync(self) -> LibrarianError | None:
        try:
            await self._kit.threads.io(self._kit.filesystem.sync, self._root.root)
        except OSError as error:
            self._kit.logger.exception("sync_failed", store=self._store.name)
            return not_durable(error, self._store)
        return None

    async def _slices(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], list[Done]]
    ) -> list[Done]:
        """What `work` answers for slices of the batch side by side, in order."""
        parts = min(self._kit.threads.hash_threads, -(-len(items) // _SLICE))
        found = await together(
            *(self._kit.threads.hash(work, items[part]) for part in slices(len(items), parts))
        )
        return [outcome for part in found for outcome in part]
