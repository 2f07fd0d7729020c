"""A bounded bridge between one worker thread and the event loop, for bytes on their way.

Items should be large (a megabyte, or hundreds of small messages): each costs a wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stopped(Exception):
    """Raised in the thread when nobody wants its items any more."""


class _Bridge(Generic[Item]):
    def __init__(self, depth: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[Item] = deque()
        self._room = threading.Semaphore(depth)
        self._finished = False
        self.stop = threading.Event()

    def give(self, item: Item) -> None:
        """From the thread; waits for room."""
        self._room.acquire()
        if self.stop.is_set():
            raise Stopped
        self._loop.call_soon_threadsafe(self._arrive, item)

    def _arrive(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()

    def finish(self) -> None:
        """From the loop, after the thread has ended."""
        self._finished = True
        self._arrived.set()

    async def items(self) -> AsyncGenerator[Item, None]:
        while True:
            while self._items:
                item = self._items.popleft()
                self._room.release()
                yield item
            if self._finished:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def abandon(self) -> None:
        """From the loop: the thread meets Stopped at its next item."""
        self.stop.set()
        self._room.release()


async def from_thread(
    produce: Callable[[threading.Event], Iterator[Item]], *, depth: int = 4
) -> AsyncGenerator[Item, None]:
    """What `produce` yields in a thread of its own, at most `depth` items ahead of the consumer.

    The event it is given is set when nobody listens any more: long work between two items should look.
    An error in the thread is raised here, after the items before it. The thread has ended when this has.
    """
    bridge: _Bridge[Item] = _Bridge(depth)

    def run() -> None:
        with suppress(Stopped):
            for item in produce(bridge.stop):
                bridge.give(item)

    thread = asyncio.ensure_future(asyncio.to_thread(run))
    thread.add_done_callback(lambda _: bridge.finish())
    try:
        async with aclosing(bridge.items()) as items:
            async for item in items:
                yield item
        await thread
    finally:
        bridge.abandon()
        await finished(thread)


async def finished(task: asyncio.Future[None]) -> None:
    """Waits for a thread's end even while being cancelled; what it raised was or will be told elsewhere."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
