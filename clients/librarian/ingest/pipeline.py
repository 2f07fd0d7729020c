"""Many datasets in: while one batch is verified by the site, the next is staged and a third is begun."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

from librarian.errors import LibrarianError
from librarian.handover import from_thread
from librarian.ingest.batch import Batch
from librarian.ingest.context import PutContext
from librarian.ingest.items import PutItem, PutResult, Source, measure
from librarian.ingest.planning import batches, failed
from librarian.journal import Journal

MAX_BATCHES = 4


async def put_items(
    context: PutContext, items: Iterable[PutItem | PutResult], journal: Journal
) -> AsyncGenerator[PutResult, None]:
    """A result for each item, in order. Raises only what concerns all of them: no connection, no right.

    Stopped early, it leaves what was begun resumable.
    """
    lanes = _Lanes()
    under_way: deque[asyncio.Task[list[PutResult]]] = deque()

    def measured(stop: threading.Event) -> Iterator[list[Source | PutResult]]:
        for batch in batches(_measure(items, stop)):
            context.progress.expect(more_bytes=sum(one.size_bytes for one in batch), more_count=len(batch))
            yield batch

    try:
        async with aclosing(from_thread(measured, depth=1)) as found:
            async for batch in found:
                under_way.append(asyncio.create_task(_run(context, batch, journal, lanes)))
                if len(under_way) >= MAX_BATCHES:
                    async for result in _results(under_way.popleft()):
                        yield result
        while under_way:
            async for result in _results(under_way.popleft()):
                yield result
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


class _Lanes:
    """Each step is one batch's at a time, in order: bytes stream one after another over a disk."""

    def __init__(self) -> None:
        self.begin = asyncio.Lock()
        self.stage = asyncio.Lock()


async def _run(
    context: PutContext, found: list[Source | PutResult], journal: Journal, lanes: _Lanes
) -> list[PutResult]:
    sources = [one for one in found if isinstance(one, Source)]
    if not sources:
        return [one for one in found if isinstance(one, PutResult)]
    batch = Batch(context, sources, journal)
    async with lanes.begin:
        await batch.begin()
    async with lanes.stage:
        await batch.stage()
    if context.alone:
        context.progress.begin(
            "verifying", total_bytes=sum(one.size_bytes for one in found), total_count=len(found)
        )
    await batch.finish()
    results = iter(batch.results[place] for place in sorted(batch.results))
    return [one if isinstance(one, PutResult) else next(results) for one in found]


async def _results(task: asyncio.Task[list[PutResult]]) -> AsyncIterator[PutResult]:
    try:
        results = await task
    except asyncio.CancelledError:
        # Taken from the queue already, so nobody else would end it.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    for result in results:
        yield result


def _measure(items: Iterable[PutItem | PutResult], stop: threading.Event) -> Iterator[Source | PutResult]:
    for item in items:
        if stop.is_set():
            return
        if isinstance(item, PutResult):
            yield item
            continue
        try:
            yield measure(item)
        except LibrarianError as error:
            yield failed(item, error)
