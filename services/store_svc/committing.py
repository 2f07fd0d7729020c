"""CommitUploads, ConfirmUploads, AbortUploads: who may work on an upload, and what became of it.

A commit that is under way is joined by who asks for it again. This process alone works on its stores
(each root is locked), so what is under way is known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from librarian.checksums import Checksum
from librarian.errors import (
    InvalidInput,
    LibrarianError,
    UploadActive,
    UploadClosed,
    UploadConfirmed,
    UploadNotFound,
    make_error,
)
from store_svc.claims import check_facts
from store_svc.cleaning import clean, tidy_areas
from store_svc.commit import CommitRun
from store_svc.following import Early
from store_svc.kit import Kit
from store_svc.lifecycle import UploadEvent, UploadState
from store_svc.queries import holdings as holding_queries
from store_svc.queries import moves
from store_svc.queries import stores as store_queries
from store_svc.queries import uploads as queries
from store_svc.records import Claims, Holding, Store, StoredError, Upload
from store_svc.staging import measure
from store_svc.streams import OpenUploads

# Batches worked on at once: while one is hashed another can be synced. More would only share the disk.
_RUNS: Final = 2
# Not for want of news from a client that these wait.
_AT_WORK: Final = (UploadState.SEALED, UploadState.VERIFIED, UploadState.COMMITTED)


@dataclass(frozen=True, slots=True)
class Status:
    """`state` None: there is no such upload. `error`: why it failed, or what keeps it from going on."""

    upload_id: str
    state: UploadState | None
    digest: Checksum | None = None
    size_bytes: int = 0
    member_count: int = 0
    verified_bytes: int = 0
    error: LibrarianError | None = None


class Committer:
    """Runs commits in the background and keeps one upload in one run at a time."""

    def __init__(self, kit: Kit, open_uploads: OpenUploads) -> None:
        self._kit = kit
        self._open_uploads = open_uploads
        self._running: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_RUNS)
        self._troubles: dict[str, LibrarianError] = {}
        self._verified_bytes: dict[str, int] = {}

    async def commit(self, store_name: str, claims: Mapping[str, Claims], *, seconds: float) -> list[Status]:
        """Answers when all are final, or after `seconds`, or when what keeps the others will not pass by
        waiting. Raises StoreNotFound, StoreDisabled, StoreIdentity, Unavailable.
        """
        store = await self._kit.store(store_name)
        refused: dict[str, LibrarianError] = {}
        for upload_id, one in claims.items():
            try:
                check_facts(one.facts_json)
            except InvalidInput as error:
                refused[upload_id] = error
        good = {upload_id: one for upload_id, one in claims.items() if upload_id not in refused}
        runs = await self._start(store, good)
        if runs:
            done, _ = await asyncio.wait(runs, timeout=seconds)
            for run in done:
                run.result()
        return await self._statuses(claims, refused)

    async def resume(self, store: Store) -> None:
        """Takes up what a crash left, with the claims made then."""
        async with self._kit.database.transaction() as connection:
            left = await queries.unfinished(connection, store.name)
        idle = [upload_id for upload_id in left if upload_id not in self._running]
        if idle:
            await self._run(store, idle)

    async def confirm(self, store_name: str, upload_ids: Sequence[str]) -> dict[str, LibrarianError]:
        """Errors of those that cannot be; one confirmed before is a success."""
        await self._kit.store(store_name)
        async with self._kit.database.transaction() as connection:
            confirmed = await moves.confirm(connection, upload_ids)
            self._kit.faults.hit("confirm.before_commit")
            rest = [upload_id for upload_id in upload_ids if upload_id not in confirmed]
            known = await queries.get_uploads(connection, rest)
            held = await holding_queries.known_uploads(connection, rest)
        errors: dict[str, LibrarianError] = {}
        for upload_id in rest:
            upload = known.get(upload_id)
            if upload is not None:
                errors[upload_id] = _wrong_state(upload)
            elif upload_id not in held:
                errors[upload_id] = _unknown(upload_id)
        return errors

    async def abort(
        self, store_name: str, upload_ids: Sequence[str], *, idle_seconds: int
    ) -> dict[str, LibrarianError]:
        """Errors of those that must stay: confirmed, or with `idle_seconds` those with news since then."""
        store = await self._kit.store(store_name)
        await self._settled(upload_ids)
        errors: dict[str, LibrarianError] = {}
        async with self._kit.database.transaction() as connection:
            known = await queries.get_uploads(connection, upload_ids)
            held = await holding_queries.known_uploads(connection, upload_ids)
        errors |= {
            upload_id: UploadConfirmed(f"upload {upload_id} is in the catalogue", upload_id=upload_id)
            for upload_id in held
            if upload_id not in known
        }
        uploads = [upload for upload in known.values() if upload.store == store_name]
        if idle_seconds:
            active = await self._active(store, uploads, idle_seconds)
            errors |= active
            uploads = [upload for upload in uploads if upload.upload_id not in active]
        await self._give_up(store, [upload.upload_id for upload in uploads], expired=idle_seconds > 0)
        return errors

    async def close(self) -> None:
        """Waits for what is under way; killing the process instead is as safe, and slower to recover."""
        await asyncio.gather(*set(self._running.values()), return_exceptions=True)

    async def _start(self, store: Store, claims: Mapping[str, Claims]) -> set[asyncio.Task[None]]:
        """The runs these uploads are in; those that nobody is at work on are put into a new one."""
        joined = {self._running[upload_id] for upload_id in claims if upload_id in self._running}
        idle = {upload_id: one for upload_id, one in claims.items() if upload_id not in self._running}
        if not idle:
            return joined
        # Entered before anything is awaited: a second call for the same uploads finds them here.
        run = asyncio.create_task(self._seal_and_run(store, idle), name=f"commit-{store.name}")
        self._running |= dict.fromkeys(idle, run)
        run.add_done_callback(partial(self._ended, idle))
        return {*joined, run}

    def _ended(self, upload_ids: Collection[str], run: asyncio.Task[None]) -> None:
        if not run.cancelled() and (error := run.exception()) is not None:
            # Who waited is told; nobody may be waiting any more.
            self._kit.logger.warning("commit_interrupted", run=run.get_name(), error=str(error))
        for upload_id in upload_ids:
            self._running.pop(upload_id, None)
            self._verified_bytes.pop(upload_id, None)

    async def _seal_and_run(self, store: Store, claims: Mapping[str, Claims]) -> None:
        self._kit.faults.hit("commit.before_sealed")
        async with self._kit.database.transaction() as connection:
            await moves.seal(connection, store.name, claims, self._kit.clock.now())
            self._kit.faults.hit("commit.in_sealed")
        self._kit.faults.hit("commit.after_sealed")
        early = await self._open_uploads.close(claims)
        await self._work(store, list(claims), early)

    async def _run(self, store: Store, upload_ids: Sequence[str]) -> None:
        run = asyncio.create_task(self._work(store, upload_ids, {}), name=f"resume-{store.name}")
        self._running |= dict.fromkeys(upload_ids, run)
        run.add_done_callback(partial(self._ended, upload_ids))
        await asyncio.wait([run])
        run.result()

    async def _work(self, store: Store, upload_ids: Sequence[str], early: Early) -> None:
        async with self._room, self._kit.open_root(store) as root:
            run = CommitRun(self._kit, store, root, self._count, early)
            for upload_id in upload_ids:
                self._troubles.pop(upload_id, None)
            await run.run(upload_ids)
            self._troubles |= run.troubles

    def _count(self, upload_id: str, count: int) -> None:
        # Threads may lose one another's addition: it is progress for people, not a fact.
        self._verified_bytes[upload_id] = self._verified_bytes.get(upload_id, 0) + count

    async def _settled(self, upload_ids: Collection[str]) -> None:
        runs = {self._running[upload_id] for upload_id in upload_ids if upload_id in self._running}
        if runs:
            await asyncio.wait(runs)

    async def _active(
        self, store: Store, uploads: Sequence[Upload], idle_seconds: int
    ) -> dict[str, LibrarianError]:
        since = self._kit.clock.now().timestamp() - idle_seconds
        errors: dict[str, LibrarianError] = {}
        async with self._kit.open_root(store) as root:
            for upload in uploads:
                news = upload.begin_time.timestamp()
                if upload.state is UploadState.OPEN:
                    staged = await self._kit.threads.io(measure, root, upload.area, upload.upload_id)
                    news = max(news, staged.latest, self._open_uploads.last_news(upload.upload_id))
                if news > since or upload.state in _AT_WORK:
                    errors[upload.upload_id] = UploadActive(
                        f"upload {upload.upload_id} had news less than {idle_seconds} s ago",
                        upload_id=upload.upload_id,
                    )
        return errors

    async def _give_up(self, store: Store, upload_ids: Sequence[str], *, expired: bool) -> None:
        event, state = (
            (UploadEvent.EXPIRE, UploadState.EXPIRED) if expired else (UploadEvent.ABORT, UploadState.ABORTED)
        )
        # Placing is kept out meanwhile: it would put back what is being taken away.
        async with self._kit.place_locks[store.name]:
            async with self._kit.database.transaction() as connection:
                moved = await moves.give_up(connection, upload_ids, event, state, self._kit.clock.now())
                ids = [one.upload_id for one in moved]
                gone = await holding_queries.delete_brought(connection, store.name, ids)
                await store_queries.count_held(
                    connection,
                    store.name,
                    datasets=-len(gone),
                    size_bytes=-sum(row.size_bytes for row in gone),
                    inodes=-sum(row.inode_count for row in gone),
                )
            self._kit.faults.hit("abort.after_commit")
            await self._open_uploads.close(upload_ids)
            for upload_id in upload_ids:
                self._troubles.pop(upload_id, None)
            async with self._kit.open_root(store) as root:
                await clean(self._kit, store, root, moved)
                await tidy_areas(self._kit, store, root, {upload.area for upload in moved})

    async def _statuses(
        self, claims: Mapping[str, Claims], refused: Mapping[str, LibrarianError]
    ) -> list[Status]:
        async with self._kit.database.transaction() as connection:
            known = await queries.get_uploads(connection, claims)
            rest = [upload_id for upload_id in claims if upload_id not in known]
            held = await holding_queries.get_brought(connection, rest)
        return [
            self._status(upload_id, known.get(upload_id), held.get(upload_id), refused.get(upload_id))
            for upload_id in claims
        ]

    def _status(
        self,
        upload_id: str,
        upload: Upload | None,
        holding: Holding | None,
        refused: LibrarianError | None,
    ) -> Status:
        if upload is None and holding is None:
            return Status(upload_id, None, error=_unknown(upload_id))
        if holding is not None:
            return Status(
                upload_id, UploadState.CONFIRMED, holding.digest, holding.size_bytes, holding.member_count
            )
        assert upload is not None
        error = refused or self._troubles.get(upload_id)
        if upload.error is not None:
            error = _error(upload.error)
        return Status(
            upload_id,
            upload.state,
            upload.digest,
            upload.size_bytes,
            upload.member_count,
            self._verified_bytes.get(upload_id, 0),
            error,
        )


def _error(stored: StoredError) -> LibrarianError:
    return make_error(stored.code, stored.reason, stored.message, stored.metadata)


def _unknown(upload_id: str) -> LibrarianError:
    return UploadNotFound(f"there is no upload {upload_id}", upload_id=upload_id)


def _wrong_state(upload: Upload) -> LibrarianError:
    return UploadClosed(
        f"upload {upload.upload_id} is {upload.state.name} and cannot be confirmed",
        remedy="ask CommitUploads for its state",
        upload_id=upload.upload_id,
        state=upload.state.name,
    )
