"""Registering in bulk: a stream of batches, each a transaction of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from librarian.api.catalog.v1 import catalog_pb2 as pb

from .context import Context
from .publishing import register_batch

# While one batch is in the database the next is read and checked.
IN_FLIGHT = 2

_Work = asyncio.Task[pb.RegisterDatasetsResponse]


async def register(
    context: Context, requests: AsyncIterator[pb.RegisterDatasetsRequest]
) -> AsyncIterator[pb.RegisterDatasetsResponse]:
    """An answer for each batch, in the order of the batches; the first that fails as a whole ends the
    stream.
    """
    started: asyncio.Queue[_Work | None] = asyncio.Queue()
    room = asyncio.Semaphore(IN_FLIGHT)
    work: set[_Work] = set()

    async def start() -> None:
        try:
            async for request in requests:
                await room.acquire()
                task = asyncio.create_task(register_batch(context, request))
                work.add(task)
                task.add_done_callback(lambda _: room.release())
                started.put_nowait(task)
        finally:
            started.put_nowait(None)

    reader = asyncio.create_task(start())
    try:
        while (task := await started.get()) is not None:
            yield await task
            work.discard(task)
        await reader
    finally:
        reader.cancel()
        for task in work:
            task.cancel()
        await asyncio.gather(reader, *work, return_exceptions=True)
