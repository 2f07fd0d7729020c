"""Mover `stream`: bytes from a store of this site into WriteUpload of the receiver's, by offsets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from librarian.api.store.v1 import store_pb2
from librarian.connection.patience import PASSING, Patience
from librarian.errors import (
    Denied,
    LibrarianError,
    OffsetMismatch,
    PeerSessionEnded,
    StoreDisabled,
    StoreIdentity,
    Unauthenticated,
    WrongSite,
)
from librarian.kernel import keep_freed_memory
from svckit.channels import Pairs
from svckit.peerlink import PeerLink
from svckit.telemetry import Logger
from transfer_svc.movers.base import Batch, Capabilities, Item
from transfer_svc.movers.board import Board
from transfer_svc.movers.doors import LocalDoor, PeerDoor, UploadDoor
from transfer_svc.movers.landings import check_upload_id
from transfer_svc.movers.pacing import Pace, Paces
from transfer_svc.movers.served import ask_members, served_frames
from transfer_svc.movers.sources import roots_of
from transfer_svc.movers.streamfiles import StreamJob, frames_of, look_all
from transfer_svc.movers.tasks import Hands, TaskMover
from transfer_svc.stores import Stores

# Streams of one batch at once: while one waits for its answer, the others keep the line full.
_LANES: Final = 3
# What one stream carries before its answer is asked for: that is when its items count as moved.
_BUNDLE_ITEMS: Final = 256
_BUNDLE_BYTES: Final = 16 << 20
# Of an item this large it is worth asking what is there; a smaller one is simply sent, unless it was begun.
_WORTH_ASKING: Final = 1 << 20
_QUESTIONS: Final = 16
_PAGE_SIZE: Final = 1000
# Without any progress for so long (s), it is the engine's turn to wait.
_PATIENCE_SECONDS: Final = 60.0
# A thin link that is back must not be left idle: a try costs next to nothing.
_LONGEST_WAIT_SECONDS: Final = 1.0
_TAKEN: Final = frozenset(
    {
        store_pb2.UPLOAD_STATE_SEALED,
        store_pb2.UPLOAD_STATE_VERIFIED,
        store_pb2.UPLOAD_STATE_COMMITTED,
        store_pb2.UPLOAD_STATE_CONFIRMED,
    }
)
_MAY_PASS: Final[tuple[type[LibrarianError], ...]] = (*PASSING, PeerSessionEnded)
# What is wrong with the line, not with one item.
_OF_ALL: Final = (Unauthenticated, Denied, StoreDisabled, StoreIdentity, WrongSite)

LinkOf = Callable[[str], PeerLink]


class StreamMover(TaskMover):
    """`link_of`: the link to a peer by its name."""

    def __init__(self, stores: Stores, link_of: LinkOf, hands: Hands, paces: Paces, logger: Logger) -> None:
        super().__init__(logger)
        self._stores = stores
        self._link_of = link_of
        self._hands = hands
        self._paces = paces
        keep_freed_memory()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("stream", durable=False, agreed_landing=False, max_items=1000, parallel=2)

    async def carry(self, batch: Batch, board: Board) -> None:
        jobs = await self._jobs(batch, board)
        bundles = deque(_bundles(jobs))
        pace = self._paces.of(batch)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(_LANES, len(bundles))):
                lanes.create_task(self._lane(batch, bundles, pace, board))

    async def _lane(
        self, batch: Batch, bundles: deque[list[StreamJob]], pace: Pace | None, board: Board
    ) -> None:
        while bundles:
            bundle = bundles.popleft()
            try:
                door = await self._door(batch, bundle[0].item.landing.store)
                sending = _Sending(self._stores, self._hands, self._paces, door, pace, board)
                await sending.run(bundle)
            except LibrarianError as error:
                for job in bundle:
                    job.error = job.error or error
            board.moved(job.item.upload_id for job in bundle if job.error is None)
            for job in bundle:
                if job.error is not None:
                    board.failed(job.item.upload_id, job.error)

    async def _door(self, batch: Batch, store: str) -> UploadDoor:
        if batch.peer:
            return PeerDoor(self._link_of(batch.peer))
        return LocalDoor(await self._stores.service_of(store))

    async def _jobs(self, batch: Batch, board: Board) -> list[StreamJob]:
        """Those that can be tried; the others have failed on the board."""
        roots, troubles = await roots_of(self._stores, self._hands, {item.store for item in batch.items})
        jobs = []
        for item in batch.items:
            try:
                check_upload_id(item.upload_id)
                if item.store in troubles:
                    raise troubles[item.store]
            except LibrarianError as error:
                board.failed(item.upload_id, error)
            else:
                jobs.append(StreamJob(item, roots.get(item.store)))
        return jobs


class _Sending:
    """One bundle: asked about, sent, and sent on after a break."""

    def __init__(
        self, stores: Stores, hands: Hands, paces: Paces, door: UploadDoor, pace: Pace | None, board: Board
    ) -> None:
        self._stores = stores
        self._hands = hands
        self._paces = paces
        self._door = door
        self._pace = pace
        self._board = board
        self._patience = Patience(_PATIENCE_SECONDS, longest_seconds=_LONGEST_WAIT_SECONDS)
        self._persisted = 0
        self._mismatches = 0

    async def run(self, bundle: Sequence[StreamJob]) -> None:
        """Returns when the receiver has every byte of every job without an error. Raises what is wrong
        with the whole.
        """
        await self._look(bundle)
        jobs = [job for job in bundle if job.error is None]
        worth_asking = _WORTH_ASKING
        while jobs:
            try:
                await self._ask(jobs, worth_asking)
                jobs = [job for job in jobs if not job.taken]
                await self._send(jobs)
            except _MAY_PASS as error:
                await self._wait(error)
                jobs = [job for job in jobs if job.error is None]
                worth_asking = 0
            except _OF_ALL:
                raise
            except LibrarianError as error:
                jobs = await self._blame(error, jobs)
            else:
                return

    async def _wait(self, error: LibrarianError) -> None:
        # What came another way may be in sight and still not be gone on with.
        self._mismatches = self._mismatches + 1 if isinstance(error, OffsetMismatch) else 0
        wait = self._patience.next_wait(asyncio.get_running_loop().time())
        if wait is None:
            raise error
        await asyncio.sleep(wait)

    async def _blame(self, error: LibrarianError, jobs: Sequence[StreamJob]) -> list[StreamJob]:
        """An error of one job ends that one; where it is not said whose it is, each is sent by itself.
        Answers those still to be sent.
        """
        named = [job for job in jobs if job.item.upload_id == error.metadata.get("upload_id")]
        if named or len(jobs) == 1:
            for job in named or jobs:
                job.error = error
            return [job for job in jobs if job.error is None]
        for job in jobs:
            await self.run([job])
        return []

    async def _look(self, bundle: Sequence[StreamJob]) -> None:
        await self._hands.do(look_all, [job for job in bundle if not job.looked])
        for job in bundle:
            if job.root is None and not job.looked:
                try:
                    await ask_members(await self._stores.service_of(job.item.store), job)
                except LibrarianError as error:
                    job.error = error

    async def _ask(self, jobs: Sequence[StreamJob], worth_asking: int) -> None:
        """Where to go on, for jobs of so many bytes. More there than the last time is progress: patience
        is new.
        """
        limit = asyncio.Semaphore(_QUESTIONS)

        async def ask(job: StreamJob) -> None:
            if self._mismatches > 1:
                job.is_there(())
                return
            async with limit:
                await self._ask_one(job)

        asked = [ask(job) for job in jobs if job.item.begun or job.item.size_bytes >= worth_asking]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
        persisted = 0
        for job in jobs:
            persisted += job.persisted_bytes
            self._board.set_bytes(job.item.upload_id, job.persisted_bytes)
        if persisted > self._persisted:
            self._patience.progressed()
        self._persisted = persisted

    async def _ask_one(self, job: StreamJob) -> None:
        files: list[store_pb2.UploadedFile] = []
        page_token = ""
        while True:
            request = store_pb2.GetUploadRequest(
                upload_id=job.item.upload_id, page_size=_PAGE_SIZE, page_token=page_token
            )
            answer = await self._door.get_upload(request, _metadata(job.item))
            if answer.state in _TAKEN:
                # The receiver has it all, and more than we know of it.
                job.taken = True
                return
            files += answer.files
            page_token = answer.next_page_token
            if not page_token:
                break
        job.is_there(files)

    async def _send(self, jobs: Sequence[StreamJob]) -> None:
        if jobs:
            async with aclosing(self._paced(self._groups(jobs))) as groups:
                await self._door.write(groups, _metadata(jobs[0].item))

    async def _groups(self, jobs: Sequence[StreamJob]) -> AsyncGenerator[list[bytes], None]:
        if jobs[0].root is None:
            for job in jobs:
                store = await self._stores.service_of(job.item.store)
                async with aclosing(served_frames(store, job, self._board)) as groups:
                    async for group in groups:
                        yield group
            return
        reader = frames_of(jobs, self._board)
        # One group is read while the one before is sent.
        ahead = asyncio.ensure_future(self._hands.do(_next, reader))
        try:
            while (read := await ahead) is not None:
                ahead = asyncio.ensure_future(self._hands.do(_next, reader))
                yield read
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
            reader.close()

    async def _paced(self, groups: AsyncGenerator[list[bytes], None]) -> AsyncGenerator[list[bytes], None]:
        async with aclosing(groups):
            async for group in groups:
                if self._pace is None:
                    yield group
                    continue
                for message in group:
                    await asyncio.sleep(self._pace.reserve(len(message), self._paces.now()))
                    yield [message]


def _next(reader: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(reader, None)


def _metadata(item: Item) -> Pairs:
    return (("librarian-store", item.landing.store), ("librarian-ticket", item.landing.ticket))


def _bundles(jobs: Iterable[StreamJob]) -> Iterator[list[StreamJob]]:
    """What goes by one stream: many small ones in order, a large one alone; of one ticket and one kind of
    source.
    """
    bundle: list[StreamJob] = []
    size = 0
    for job in jobs:
        fits = (
            bundle
            and len(bundle) < _BUNDLE_ITEMS
            and size + job.item.size_bytes <= _BUNDLE_BYTES
            and _line(job) == _line(bundle[0])
            and job.root is not None
        )
        if bundle and not fits:
            yield bundle
            bundle, size = [], 0
        bundle.append(job)
        size += job.item.size_bytes
    if bundle:
        yield bundle


def _line(job: StreamJob) -> tuple[str, str, bool]:
    return job.item.landing.store, job.item.landing.ticket, job.root is None
