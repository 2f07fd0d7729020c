"""Ways 2 and 3: the bytes go as a stream, many uploads and members on one, and on after a break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import grpc

from librarian.api.store.v1 import store_pb2
from librarian.connection.channel import UNARY_SECONDS, SiteChannel
from librarian.connection.doors import Door, Doors
from librarian.connection.patience import PASSING, Patience
from librarian.errors import LibrarianError, TicketInvalid, Unavailable
from librarian.handover import from_thread
from librarian.ingest.local import Tick
from librarian.ingest.reading import Reader, UploadJob
from librarian.kernel import keep_freed_memory

PAGE_SIZE = 1000
# Questions under way at once when a broken stream is taken up again.
PARALLEL_QUESTIONS = 16


class StreamStaging:
    """Brings the bytes of the uploads of one grant. `renew` answers a fresh ticket when one has aged."""

    def __init__(
        self,
        site: SiteChannel,
        doors: Doors,
        *,
        algorithm: str,
        tick: Tick,
        patience: Patience,
        renew: Callable[[], Awaitable[str]],
    ) -> None:
        self._site = site
        self._doors = doors
        self._algorithm = algorithm
        self._tick = tick
        self._patience = patience
        self._renew = renew
        self._persisted = 0

    async def run(self, jobs: Sequence[UploadJob], *, resume: bool) -> None:
        """Returns when the store has every byte of every job without an error. `resume`: some may be
        there from an earlier run.
        """
        keep_freed_memory()
        ask = resume
        while True:
            open_jobs = [job for job in jobs if job.error is None]
            if not open_jobs:
                return
            door = await self._doors.open()
            try:
                if ask:
                    await self._ask_persisted(door, open_jobs)
                await self._send(door, open_jobs)
            except PASSING as error:
                await self._wait(error)
            except TicketInvalid as error:
                await self._wait(error)
                self._doors.renew(await self._renew())
            except LibrarianError as error:
                _blame(error, open_jobs)
            else:
                return
            ask = True

    async def _wait(self, error: LibrarianError) -> None:
        wait = self._patience.next_wait(asyncio.get_running_loop().time())
        if wait is None:
            raise error
        await asyncio.sleep(wait)

    async def _send(self, door: Door, jobs: Sequence[UploadJob]) -> None:
        reader = Reader(jobs, self._algorithm, self._tick)
        call = door.write(metadata=door.metadata)
        try:
            async with aclosing(from_thread(reader.groups)) as groups:
                async for group in groups:
                    if not await write_messages(call, group):
                        break
            await call.done_writing()
            await call
        except grpc.aio.AioRpcError as error:
            raise self._site.error(error) from None
        finally:
            call.cancel()

    async def _ask_persisted(self, door: Door, jobs: Sequence[UploadJob]) -> None:
        """Where to go on, for every job. More there than the last time is progress: patience is new."""
        limit = asyncio.Semaphore(PARALLEL_QUESTIONS)

        async def ask(job: UploadJob) -> int:
            async with limit:
                return await self._ask_one(door, job)

        persisted = sum(await asyncio.gather(*(ask(job) for job in jobs)))
        if persisted > self._persisted:
            self._patience.progressed()
        self._persisted = persisted

    async def _ask_one(self, door: Door, job: UploadJob) -> int:
        there: dict[str, store_pb2.UploadedFile] = {}
        page_token = ""
        while True:
            request = store_pb2.GetUploadRequest(
                upload_id=job.upload_id, page_size=PAGE_SIZE, page_token=page_token
            )
            try:
                answer = await door.stub.GetUpload(request, metadata=door.metadata, timeout=UNARY_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise self._site.error(error) from None
            there.update((file.path, file) for file in answer.files)
            page_token = answer.next_page_token
            if not page_token:
                break
        for file in job.files:
            found = there.get(file.path)
            file.persisted = found.persisted_bytes if found else 0
            file.complete = found.complete if found else False
        return sum(file.persisted_bytes for file in there.values())


async def write_messages(
    call: grpc.aio.StreamUnaryCall[bytes, store_pb2.WriteUploadResponse], group: Sequence[bytes]
) -> bool:
    """False where the store ended the call; why, the call tells when it is awaited."""
    for message in group:
        if call.done():
            return False
        try:
            await call.write(message)
        except asyncio.InvalidStateError:
            return False
        except grpc.aio.AioRpcError as error:
            # A call that ends during a write has its status replaced by one that says nothing.
            if error.code() is grpc.StatusCode.INTERNAL and not error.trailing_metadata():
                raise Unavailable("the stream to the store broke off") from None
            raise
    return True


def _blame(error: LibrarianError, jobs: Sequence[UploadJob]) -> None:
    """An error of one upload ends that one; an error of nobody in particular ends all."""
    named = [job for job in jobs if job.upload_id == error.metadata.get("upload_id")]
    for job in named or jobs:
        job.error = error
