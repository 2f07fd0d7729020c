"""The client for plain code: `librarian.Librarian`, method by method, on an event loop in a thread.

What is a coroutine there is a call here, what is an asynchronous iterator there is an iterator here; names,
arguments and answers are the same. Types are in `blocking.pyi`, which scripts/blocking_stub.py writes from
the asyncio class. One client may be used from several threads.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from librarian import client

Result = TypeVar("Result")
Item = TypeVar("Item")

# Items handed from the loop to the caller at once: at most so many wait for him.
BATCH_ITEMS = 256


class _LoopThread:
    """An event loop that runs until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="librarian-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Its result. An interruption of the caller (Ctrl-C) cancels the work and waits for its end."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                self._settle()
            raise

    def _settle(self) -> None:
        """Waits until cancelled tasks have ended, so that nothing is left half done behind our back."""

        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            cancelling = [task for task in others if task is not None and task.cancelling()]
            await asyncio.gather(*cancelling, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(settle(), self._loop).result()

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Librarian:
    """As `librarian.Librarian`; to be used with `with`."""

    def __init__(self, asynchronous: client.Librarian) -> None:
        self._client = asynchronous
        self._thread: _LoopThread | None = None

    @classmethod
    def connect(cls, **where: Any) -> Self:
        return cls(client.Librarian.connect(**where))

    @property
    def settings(self) -> object:
        return self._client.settings

    def __enter__(self) -> Self:
        self._thread = _LoopThread()
        self._thread.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.run(self._client.__aexit__(kind, error, trace))
            self._thread.close()
            self._thread = None

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._thread is None:
            work.close()
            raise RuntimeError("open the client first: with Librarian.connect() as lib")
        return self._thread.run(work)

    def _iterate(self, items: AsyncGenerator[Item, None]) -> Iterator[Item]:
        ahead = _Ahead(items)
        try:
            while batch := self._run(ahead.take()):
                yield from batch
        finally:
            self._run(ahead.close())


class _Ahead:
    """Runs an asynchronous iterator ahead of its reader, so that crossing threads costs once a batch."""

    def __init__(self, items: AsyncGenerator[Any, None]) -> None:
        self._items = items
        self._ready: list[Any] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> list[Any]:
        """What has arrived, at least one; nothing at the end. Raises what the iterator raised."""
        if self._task is None:
            self._task = asyncio.create_task(self._pump())
            self._task.add_done_callback(lambda _: self._arrived.set())
        while not self._ready and not self._task.done():
            self._arrived.clear()
            await self._arrived.wait()
        batch, self._ready = self._ready, []
        self._room.set()
        if not batch:
            await self._task
        return batch

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._items.aclose()

    async def _pump(self) -> None:
        async for item in self._items:
            self._ready.append(item)
            self._arrived.set()
            while len(self._ready) >= BATCH_ITEMS:
                self._room.clear()
                await self._room.wait()


def _blocking(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        def iterate(self: Librarian, *args: Any, **kwargs: Any) -> Iterator[Any]:
            return self._iterate(getattr(self._client, name)(*args, **kwargs))

        return iterate

    @functools.wraps(method)
    def call(self: Librarian, *args: Any, **kwargs: Any) -> Any:
        return self._run(getattr(self._client, name)(*args, **kwargs))

    return call


def asynchronous_methods() -> dict[str, Callable[..., Any]]:
    """The public methods of the asyncio client that wait for something, by name."""
    return {
        name: method
        for name, method in inspect.getmembers(client.Librarian, inspect.isfunction)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }


for _name, _method in asynchronous_methods().items():
    setattr(Librarian, _name, _blocking(_name, _method))
