"""WriteUpload and GetUpload: which uploads a ticket reaches, and chunks on their way to threads."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from librarian.errors import StoreDisabled, TokenRevoked, UploadNotFound
from store_svc import staging
from store_svc.chunks import Chunk, closed
from store_svc.following import Early
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.lifecycle import UploadState
from store_svc.openupload import OpenUpload
from store_svc.queries import holdings as holding_queries
from store_svc.queries import stores as store_queries
from store_svc.queries import uploads as queries
from store_svc.records import Store, Upload
from store_svc.tickets import Ticket
from store_svc.writing import WriteSession

# Handed to a thread at once; as much again may wait while that one writes.
_HANDED_BYTES: Final = 8 << 20
_HANDED_CHUNKS: Final = 256


@dataclass(frozen=True, slots=True)
class Written:
    written_bytes: int
    member_count: int


class Cuts:
    """Streams by the token their ticket came of, to be ended at once when it is revoked."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, set[asyncio.Task[object]]] = defaultdict(set)

    @contextmanager
    def watched(self, ticket: Ticket) -> Iterator[None]:
        """Around a stream; one that is cut raises TokenRevoked."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[ticket.token_id].add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task in self._tasks.get(ticket.token_id, ()):
                raise
            task.uncancel()
            raise TokenRevoked(f"the token of {ticket.subject} was revoked") from None
        finally:
            left = self._tasks.get(ticket.token_id, set())
            left.discard(task)
            if not left:
                self._tasks.pop(ticket.token_id, None)

    def cut(self, token_ids: Collection[str]) -> None:
        for token_id in token_ids:
            for task in self._tasks.pop(token_id, set()):
                task.cancel()


class OpenUploads:
    """Uploads that take bytes, remembered for as long as they do. This process alone works on a store, so
    what it remembers is true.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._open: dict[str, OpenUpload] = {}
        # What is read from the database is entered before anybody closes it, or read after.
        self._changing = asyncio.Lock()

    def find(self, upload_id: str, area: str) -> OpenUpload | None:
        found = self._open.get(upload_id)
        return found if found is not None and found.upload.area == area else None

    def last_news(self, upload_id: str) -> float:
        """Of a stream, seconds since 1970; 0.0 where there was none."""
        found = self._open.get(upload_id)
        return 0.0 if found is None else found.last_news

    async def load(self, upload_id: str, area: str) -> OpenUpload:
        """All of the area, at one go. Raises UploadNotFound, UploadClosed, StoreIdentity."""
        async with self._changing:
            async with self._kit.database.transaction() as connection:
                uploads = await queries.open_uploads_of(connection, area)
                stores = {store.name: store for store in await store_queries.list_stores(connection)}
            new = [upload for upload in uploads if upload.upload_id not in self._open]
            for target in await self._kit.threads.io(_remember, self._kit, new, stores):
                self._open[target.upload.upload_id] = target
        found = self.find(upload_id, area)
        if found is None:
            raise await self._why_not(upload_id, area)
        return found

    async def _why_not(self, upload_id: str, area: str) -> Exception:
        upload = await upload_of_ticket(self._kit, upload_id, area)
        assert upload.state is not UploadState.OPEN
        return closed(upload_id)

    async def close(self, upload_ids: Collection[str]) -> Early:
        """For uploads whose row says already that they are not open: no more bytes come to them, and none
        are under way when this returns. What is known of their members already.
        """
        async with self._changing:
            targets = [self._open.pop(upload_id) for upload_id in upload_ids if upload_id in self._open]
        if targets:
            await self._kit.threads.io(_close_all, targets)
        return {target.upload.upload_id: target.early for target in targets}

    def store_changed(self, store: Store) -> None:
        for target in self._open.values():
            if target.store.name == store.name:
                target.store = store


def _remember(kit: Kit, uploads: Sequence[Upload], stores: dict[str, Store]) -> list[OpenUpload]:
    targets = []
    for upload in uploads:
        store = stores[upload.store]
        target = OpenUpload(upload, store, kit.roots.of(store))
        if store.enabled:
            with target.root.open() as root:
                target.written_bytes = staging.measure(root, upload.area, upload.upload_id).size_bytes
        targets.append(target)
    return targets


def _close_all(targets: Sequence[OpenUpload]) -> None:
    for target in targets:
        target.close()


async def upload_of_ticket(kit: Kit, upload_id: str, area: str) -> Upload:
    """Raises UploadNotFound, also for one that the ticket does not reach."""
    async with kit.database.transaction() as connection:
        upload = (await queries.get_uploads(connection, [upload_id])).get(upload_id)
    if upload is None or upload.area != area:
        raise UploadNotFound(f"there is no upload {upload_id} for this ticket", upload_id=upload_id)
    return upload


async def write_upload(
    kit: Kit, open_uploads: OpenUploads, ticket: Ticket, chunks: AsyncIterator[Chunk]
) -> Written:
    """Until the stream ends. What was written before an error stays, to be gone on with."""
    session = WriteSession(kit.filesystem, kit.threads.start_hash)
    writer = _Writer(kit, session)
    try:
        async for chunk in chunks:
            kit.tickets.check_revoked(ticket)
            target = open_uploads.find(chunk.upload_id, ticket.about)
            if target is None:
                target = await open_uploads.load(chunk.upload_id, ticket.about)
            if not target.store.enabled:
                raise StoreDisabled(f"store {target.store.name} is turned off", store=target.store.name)
            target.last_news = kit.clock.now().timestamp()
            await writer.hand(target, chunk)
        await writer.finish()
        return Written(session.written_bytes, session.member_count)
    finally:
        await writer.rest()
        await kit.threads.io(session.close)


class _Writer:
    """Chunks on their way to a thread: what came while it wrote is written next, also where no more comes."""

    def __init__(self, kit: Kit, session: WriteSession) -> None:
        self._kit = kit
        self._session = session
        self._pending: list[tuple[OpenUpload, Chunk]] = []
        self._pending_bytes = 0
        self._taken = asyncio.Event()
        self._under_way: asyncio.Task[None] | None = None

    async def hand(self, target: OpenUpload, chunk: Chunk) -> None:
        """Returns when there is room for the next. Raises what went wrong with those before."""
        self._pending.append((target, chunk))
        self._pending_bytes += len(chunk.data)
        while True:
            if self._under_way is not None and self._under_way.done():
                await self.finish()
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._write())
            elif self._pending_bytes >= _HANDED_BYTES or len(self._pending) >= _HANDED_CHUNKS:
                await self._until_taken(self._under_way)
                continue
            return

    async def finish(self) -> None:
        """All that was handed is written. Raises what went wrong with it."""
        if self._under_way is not None:
            under_way = self._under_way
            try:
                await under_way
            finally:
                if under_way.done():
                    self._under_way = None

    async def rest(self) -> None:
        """Nothing is being written when this returns, however it went."""
        if self._under_way is not None:
            self._pending = []
            await asyncio.wait([self._under_way])
            if not self._under_way.cancelled():
                self._under_way.exception()

    async def _until_taken(self, under_way: asyncio.Task[None]) -> None:
        self._taken.clear()
        taken = asyncio.ensure_future(self._taken.wait())
        try:
            await asyncio.wait([taken, under_way], return_when=asyncio.FIRST_COMPLETED)
        finally:
            taken.cancel()

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending, self._pending_bytes = self._pending, [], 0
            self._taken.set()
            await self._kit.threads.io(self._session.write, batch)


@dataclass(frozen=True, slots=True)
class UploadPage:
    state: UploadState
    entries: list[staging.StagedEntry]
    more: bool


async def get_upload(kit: Kit, upload_id: str, area: str, after: str, size: int) -> UploadPage:
    """Raises UploadNotFound, StoreDisabled, StoreIdentity."""
    try:
        upload = await upload_of_ticket(kit, upload_id, area)
    except UploadNotFound:
        async with kit.database.transaction() as connection:
            if not await holding_queries.known_uploads(connection, [upload_id]):
                raise
        return UploadPage(UploadState.CONFIRMED, [], more=False)
    if upload.state is not UploadState.OPEN:
        return UploadPage(upload.state, [], more=False)
    store = await kit.store(upload.store)
    async with kit.open_root(store) as root:
        entries = await kit.threads.io(_page, root, upload, after, size)
    return UploadPage(upload.state, entries[:size], more=len(entries) > size)


def _page(root: OpenRoot, upload: Upload, after: str, size: int) -> list[staging.StagedEntry]:
    found = staging.staged_entries(root, upload.area, upload.upload_id, after)
    # What is not valid UTF-8 cannot be told, and is refused by name at the commit.
    return list(islice((entry for entry in found if _is_utf8(entry.path)), size + 1))


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
