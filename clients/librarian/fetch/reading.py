"""Bytes of a dataset one after another, for a pipe: verified at each file's end, resumed inside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import google_crc32c
import grpc

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.checksums import Checksum, Hasher, new_hasher
from librarian.connection.channel import SiteChannel
from librarian.connection.doors import Doors, opened_doors
from librarian.connection.patience import PASSING
from librarian.errors import ChunkCorrupt, LibrarianError
from librarian.fetch.parts import corrupt
from librarian.fetch.ways import begin_read, proven_path, stores_of
from librarian.filehash import stream_chunks
from librarian.handover import from_thread
from librarian.manifests import Member, MemberKind


class FileReader:
    """Reads the files of one dataset in order. What was given out cannot be taken back: a file that turns
    out not to be what it must be ends the reading with REPLICA_CORRUPT.
    """

    def __init__(self, site: SiteChannel, dataset: catalog_pb2.Dataset, *, store: str = "") -> None:
        self._site = site
        self._dataset = dataset
        self._stores = stores_of(dataset, store)
        self._offset = 0

    async def read(self, members: Sequence[Member]) -> AsyncGenerator[bytes, None]:
        for member in members:
            if member.kind is MemberKind.FILE:
                async with aclosing(self._file(member)) as chunks:
                    async for chunk in chunks:
                        yield chunk

    async def _file(self, member: Member) -> AsyncGenerator[bytes, None]:
        assert member.checksum is not None, "a file has a checksum"
        hasher: Hasher = new_hasher(member.checksum.algorithm)
        self._offset = 0
        trouble: LibrarianError | None = None
        for store in self._stores:
            try:
                async with aclosing(self._from_store(store, member)) as chunks:
                    async for chunk in chunks:
                        hasher.update(chunk)
                        self._offset += len(chunk)
                        yield chunk
            except LibrarianError as error:
                trouble = trouble or error
                continue
            if Checksum(member.checksum.algorithm, hasher.digest()) != member.checksum:
                raise corrupt(member, self._dataset.name, store)
            return
        assert trouble is not None, "there is at least one store"
        raise trouble

    async def _from_store(self, store: str, member: Member) -> AsyncGenerator[bytes, None]:
        grant = await begin_read(self._site, store, self._dataset.uid)
        root = await asyncio.to_thread(proven_path, grant)
        if root is not None:
            path = root / member.path if member.path else root
            async with aclosing(self._by_file(path)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        async with (
            opened_doors(self._site, store, grant.data_address, grant.ticket) as doors,
            aclosing(self._by_stream(doors, member)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def _by_file(self, path: Path) -> AsyncGenerator[bytes, None]:
        start = self._offset

        def produce(stop: threading.Event) -> Iterator[bytes]:
            for chunk in stream_chunks(path, offset=start):
                if stop.is_set():
                    return
                yield chunk

        async with aclosing(from_thread(produce)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _by_stream(self, doors: Doors, member: Member) -> AsyncGenerator[bytes, None]:
        patience = self._site.patience()
        while self._offset < member.size_bytes:
            try:
                async with aclosing(self._messages(doors, member)) as messages:
                    async for chunk in messages:
                        patience.progressed()
                        yield chunk
            except PASSING:
                wait = patience.next_wait(asyncio.get_running_loop().time())
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _messages(self, doors: Doors, member: Member) -> AsyncGenerator[bytes, None]:
        door = await doors.open()
        wanted = store_pb2.ReadRange(path=member.path, offset=self._offset)
        call = door.read(
            store_pb2.ReadDatasetRequest(uid=self._dataset.uid, ranges=[wanted]), metadata=door.metadata
        )
        try:
            async for raw in call:
                message = store_pb2.ReadDatasetResponse.FromString(raw)
                if message.offset != self._offset or google_crc32c.value(message.data) != message.crc32c:
                    raise ChunkCorrupt("a chunk was damaged on the way")
                if message.data:
                    yield message.data
            if self._offset < member.size_bytes:
                raise ChunkCorrupt("the stream ended before all bytes were there")
        except grpc.aio.AioRpcError as error:
            raise self._site.error(error) from None
        finally:
            call.cancel()
