"""Transfers as they change, for those who watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import Unavailable
from svckit.auth import Caller
from svckit.notifications import Bell
from transfer_svc.context import Context
from transfer_svc.sending import route_queries
from transfer_svc.sending.messages import transfer_to_proto
from transfer_svc.sending.reading import queues_of
from transfer_svc.sending.values import Transfer

HEARTBEAT_SECONDS: Final = 15.0
# Changes come in crowds: told together. Sums are made no more often than that.
_GATHER_SECONDS: Final = 0.2
_SUMS_SECONDS: Final = 2.0
_MOST: Final = 500


class Watcher:
    """`changed`: ids not yet told; None: anything may have changed, the connection was away."""

    def __init__(self) -> None:
        self.changed: set[str] | None = None
        self.bell = Bell()

    def take(self) -> set[str] | None:
        taken, self.changed = self.changed, set()
        return taken


class Watchers:
    """Those of this process; fed by one listening connection."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def hear(self, payload: str) -> None:
        for watcher in self._watchers:
            # One that is too slow looks at all that is under way again.
            if not payload or watcher.changed is None or len(watcher.changed) > 20 * _MOST:
                watcher.changed = None
            else:
                watcher.changed.update(payload.split(","))
            watcher.bell.ring()

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


async def watch_transfers(
    context: Context, watchers: Watchers, stopping: asyncio.Event, caller: Caller, destination: str
) -> AsyncIterator[pb.WatchTransfersResponse]:
    """Raises Unavailable when the service stops."""
    summed_at = -_SUMS_SECONDS
    with watchers.watching() as watcher:
        while not stopping.is_set():
            mark = watcher.bell.mark()
            told = 0
            for page in await _changed(context, watcher.take(), destination):
                seen = [each for each in page if caller.may_see(each.name)]
                told += len(seen)
                if seen:
                    yield pb.WatchTransfersResponse(transfers=[transfer_to_proto(each) for each in seen])
            now = context.clock.monotonic()
            if now - summed_at >= _SUMS_SECONDS and (told or now - summed_at >= HEARTBEAT_SECONDS):
                summed_at = now
                yield pb.WatchTransfersResponse(queues=await _queues(context, destination))
            await asyncio.sleep(_GATHER_SECONDS)
            pending = _SUMS_SECONDS if told else HEARTBEAT_SECONDS - (now - summed_at)
            await _first_of(watcher.bell, mark, stopping, seconds=max(pending, _GATHER_SECONDS))
    raise Unavailable("the service is stopping", remedy="watch again")


async def _changed(context: Context, ids: set[str] | None, destination: str) -> Sequence[list[Transfer]]:
    async with context.database.hot() as connection:
        if ids is None:
            return [await route_queries.under_way(connection, destination, _MOST)]
        pages, ordered = [], sorted(ids)
        for start in range(0, len(ordered), _MOST):
            found = await route_queries.fetch(connection, ordered[start : start + _MOST])
            pages.append([each for each in found.values() if destination in {"", each.destination}])
        return pages


async def _queues(context: Context, destination: str) -> list[pb.QueueStatus]:
    async with context.database.hot() as connection:
        queues = queues_of(await route_queries.sums(connection))
    return [queue for queue in queues if destination in {"", queue.destination}]


async def _first_of(bell: Bell, mark: int, stopping: asyncio.Event, *, seconds: float) -> None:
    rung = asyncio.ensure_future(bell.wait(mark, seconds))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([rung, stop], return_when=asyncio.FIRST_COMPLETED)
    finally:
        rung.cancel()
        stop.cancel()
