"""The receiver's StoreService as the stream mover calls it: a peer's through its gateway, or this site's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from librarian.api.store.v1 import store_pb2
from librarian.errors import InternalError, LibrarianError, Unavailable
from librarian.ingest.upload import write_messages
from svckit.channels import Pairs
from svckit.peerlink import PeerLink

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

Groups = AsyncIterator[Sequence[bytes]]


class UploadDoor(Protocol):
    """Raises LibrarianError. `metadata`: store and ticket."""

    async def get_upload(
        self, request: store_pb2.GetUploadRequest, metadata: Pairs
    ) -> store_pb2.GetUploadResponse: ...

    async def write(self, groups: Groups, metadata: Pairs) -> None:
        """Groups of serialised WriteUploadRequests, until all of them are at the store, or an error."""
        ...


class PeerDoor:
    def __init__(self, link: PeerLink) -> None:
        self._link = link

    async def get_upload(
        self, request: store_pb2.GetUploadRequest, metadata: Pairs
    ) -> store_pb2.GetUploadResponse:
        return await self._link.store.GetUpload(request, metadata=metadata)

    async def write(self, groups: Groups, metadata: Pairs) -> None:
        call = await self._link.write_upload(metadata)
        try:
            async for group in groups:
                if not await _written(call, group):
                    break
            await call.done_writing()
            await call
        except grpc.aio.AioRpcError as error:
            raise _spoken(self._link.error(error)) from None
        finally:
            call.cancel()


class LocalDoor:
    """Through the stub, which serialises once more; the way for what shares no file system with us."""

    def __init__(self, stub: StoreServiceAsyncStub) -> None:
        self._stub = stub

    async def get_upload(
        self, request: store_pb2.GetUploadRequest, metadata: Pairs
    ) -> store_pb2.GetUploadResponse:
        return await self._stub.GetUpload(request, metadata=metadata)

    async def write(self, groups: Groups, metadata: Pairs) -> None:
        queue: asyncio.Queue[Sequence[bytes] | None] = asyncio.Queue(maxsize=1)

        async def requests() -> AsyncIterator[store_pb2.WriteUploadRequest]:
            while (group := await queue.get()) is not None:
                for message in group:
                    yield store_pb2.WriteUploadRequest.FromString(message)

        call = asyncio.ensure_future(self._stub.WriteUpload(requests(), metadata=metadata))
        try:
            async for group in groups:
                if not await _put(queue, group, call):
                    break
            await _put(queue, None, call)
            await call
        except InternalError as error:
            raise _spoken(error) from None
        finally:
            call.cancel()
            await asyncio.wait([call])
            # Whatever still reads there finds the end.
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)


async def _written(
    call: grpc.aio.StreamUnaryCall[bytes, store_pb2.WriteUploadResponse], group: Sequence[bytes]
) -> bool:
    """As `write_messages`; also of a call that ends during a write, most of which tell when awaited."""
    try:
        return await write_messages(call, group)
    except Unavailable:
        return False


def _spoken(error: LibrarianError) -> LibrarianError:
    """A call that ends during a write may have its status replaced by one that says nothing."""
    if isinstance(error, InternalError) and not error.metadata:
        return Unavailable("the stream to the store broke off")
    return error


async def _put(
    queue: asyncio.Queue[Sequence[bytes] | None],
    group: Sequence[bytes] | None,
    call: asyncio.Future[store_pb2.WriteUploadResponse],
) -> bool:
    """False where the store ended the call; why, the call tells when it is awaited."""
    putting = asyncio.ensure_future(queue.put(group))
    either: list[asyncio.Future[Any]] = [putting, call]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        putting.cancel()
    return not call.done()
