"""Ways 2 and 3: a stream of chunks, written and hashed in a thread while the next ones arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import google_crc32c
import grpc

from librarian.api.store.v1 import store_pb2
from librarian.connection.channel import SiteChannel
from librarian.connection.doors import Door, Doors
from librarian.connection.patience import PASSING, Patience
from librarian.errors import ChunkCorrupt, LibrarianError, TicketInvalid
from librarian.fetch.parts import PartFile
from librarian.fetch.ways import at_most, begin_read
from librarian.handover import finished

GROUP_BYTES = 4 << 20
GROUP_MESSAGES = 256
OnDone = Callable[[PartFile], None]


class StreamFetch:
    """Brings the parts of one dataset from one store. `on_done` is called in the thread when a part has
    all its bytes, verified or not.
    """

    def __init__(self, site: SiteChannel, doors: Doors, uid: str, store: str, patience: Patience) -> None:
        self._site = site
        self._doors = doors
        self._uid = uid
        self._store = store
        self._patience = patience

    async def run(self, parts: Sequence[PartFile], on_done: OnDone) -> None:
        for batch in at_most(parts):
            writer = _Writer(batch, on_done)
            try:
                await self._batch(writer)
            finally:
                await asyncio.to_thread(writer.close)

    async def _batch(self, writer: _Writer) -> None:
        while True:
            door = await self._doors.open()
            before = writer.moved
            try:
                await self._read(door, writer)
            except PASSING as error:
                if writer.moved > before:
                    self._patience.progressed()
                await self._wait(error)
            except TicketInvalid as error:
                await self._wait(error)
                grant = await begin_read(self._site, self._store, self._uid)
                self._doors.renew(grant.ticket)
            else:
                return

    async def _wait(self, error: LibrarianError) -> None:
        wait = self._patience.next_wait(asyncio.get_running_loop().time())
        if wait is None:
            raise error
        await asyncio.sleep(wait)

    async def _read(self, door: Door, writer: _Writer) -> None:
        ranges = await asyncio.to_thread(writer.ranges)
        if not ranges:
            return
        call = door.read(store_pb2.ReadDatasetRequest(uid=self._uid, ranges=ranges), metadata=door.metadata)
        writing: asyncio.Task[None] | None = None
        group: list[bytes] = []
        size = 0
        try:
            async for message in call:
                group.append(message)
                size += len(message)
                if size >= GROUP_BYTES or len(group) >= GROUP_MESSAGES:
                    if writing is not None:
                        await asyncio.shield(writing)
                    writing = asyncio.create_task(asyncio.to_thread(writer.take, group))
                    group, size = [], 0
        except grpc.aio.AioRpcError as error:
            raise self._site.error(error) from None
        finally:
            call.cancel()
            # Whatever ended the stream: what arrived is kept, and nothing else may touch the parts before.
            if writing is not None:
                await finished(writing)
            last = asyncio.create_task(asyncio.to_thread(writer.take, group))
            await finished(last)
        for task in (writing, last):
            if task is not None:
                task.result()
        if not writer.is_done:
            raise ChunkCorrupt("the stream ended before all bytes were there")


class _Writer:
    """Parts in order; the first that is not done is the one being written."""

    def __init__(self, parts: Sequence[PartFile], on_done: OnDone) -> None:
        self._parts = parts
        self._on_done = on_done
        self._at = 0
        self._first = 0
        self.moved = 0

    @property
    def is_done(self) -> bool:
        return self._at == len(self._parts)

    def ranges(self) -> list[store_pb2.ReadRange]:
        """What is still to come; parts that need nothing more are done at once."""
        while not self.is_done and self._open().offset == self._parts[self._at].member.size_bytes:
            self._done()
        self._first = self._at
        return [
            store_pb2.ReadRange(path=part.member.path, offset=part.offset) for part in self._parts[self._at :]
        ]

    def take(self, messages: Sequence[bytes]) -> None:
        for raw in messages:
            message = store_pb2.ReadDatasetResponse.FromString(raw)
            data = message.data
            part = self._open()
            if message.range + self._first != self._at or message.offset != part.offset:
                raise ChunkCorrupt(f"a chunk of {part.member.path or 'the file'} came out of its place")
            if google_crc32c.value(data) != message.crc32c:
                raise ChunkCorrupt(f"a chunk of {part.member.path or 'the file'} was damaged on the way")
            part.write(data)
            self.moved += len(data)
            if message.last:
                self._done()

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _open(self) -> PartFile:
        part = self._parts[self._at]
        part.ensure_open()
        return part

    def _done(self) -> None:
        part = self._parts[self._at]
        if part.resumed and not part.is_verified():
            # Perhaps what the earlier run left is what is wrong: everything again, once.
            part.start_again()
            raise ChunkCorrupt(f"the part of {part.member.path or 'the file'} from an earlier run was bad")
        self._on_done(part)
        part.close()
        self._at += 1
