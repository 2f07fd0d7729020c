"""A wire between two sites that can be thin and can be cut: a TCP proxy on loopback, for tests and demos."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

_CHUNK_BYTES: Final = 16 * 1024
# What may be sent at once after a silence, in seconds of the rate: a wire has no memory, a scheduler has.
_BURST_SECONDS: Final = 0.05
_HOST: Final = "127.0.0.1"


class Link:
    """Listens at `address` from the beginning; `lead_to` says where the wire ends. A context manager.

    `bits_per_second` holds for each direction by itself, over all connections; 0: as fast as it goes.
    """

    def __init__(self, bits_per_second: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        self._there = _Pace(bits_per_second)
        self._back = _Pace(bits_per_second)
        self._target: tuple[str, int] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._cut = False
        self.address = self._run(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def carried_bytes(self) -> int:
        """From those who dialled towards the end of the wire, so far."""
        return self._there.passed_bytes

    @property
    def returned_bytes(self) -> int:
        return self._back.passed_bytes

    def lead_to(self, address: str) -> None:
        """`host:port`, with or without a scheme before it; connections made from now on end there."""
        host, _, port = address.rpartition("://")[2].rpartition(":")
        self._target = (host, int(port))

    def set_rate(self, bits_per_second: int) -> None:
        """Of each direction, from now on."""
        self._there.bytes_per_second = self._back.bytes_per_second = bits_per_second / 8

    def cut(self) -> None:
        """Connections are reset, and new ones are closed as soon as they are made."""
        self._run(self._reset())

    def hush(self) -> None:
        """Nothing gets through any more and nobody is told: the silence of a dead radio."""
        self._call(self._open.clear)

    def snap(self, *, carried: int | None = None, returned: int | None = None) -> None:
        """Once, when so many more bytes have gone there, or have come back, and not one more: connections are
        reset. New ones are as ever. Neither: what was planned is off.
        """
        self._call(lambda: self._there.stop_after(carried))
        self._call(lambda: self._back.stop_after(returned))

    def mend(self) -> None:
        """As new, after `cut` and after `hush`."""
        self._cut = False
        self._call(self._open.set)

    def close(self) -> None:
        """Ends the wire and everything on it. Twice is once."""
        if self._loop.is_closed():
            return
        self._run(self._end())
        self._run(_settled())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> str:
        self._open.set()
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        return f"{_HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this in a task"
        self._connections.add(task)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            # The cut: whoever holds the other end sees a reset.
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut or self._target is None:
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            return
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, self._there)),
            asyncio.create_task(self._pump(far_reader, writer, self._back)),
        ]
        try:
            # An end of one direction is handed on; the first error ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: _Pace) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._open.wait()
            passing = pace.before_stop(data)
            await pace.take(len(passing))
            writer.write(passing)
            if len(passing) < len(data):
                for connection in list(self._connections):
                    connection.cancel()
                return
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _reset(self) -> None:
        self._cut = True
        self._open.set()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _end(self) -> None:
        self._server.close()
        await self._reset()
        await self._server.wait_closed()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _call(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)


async def _settled() -> None:
    """What was just being accepted comes to its end too, and each socket is closed."""
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left)
    # Transports close their sockets in a turn of their own.
    for _ in range(2):
        await asyncio.sleep(0)


class _Pace:
    """One direction's rate, as a time before which nothing more may pass."""

    def __init__(self, bits_per_second: int) -> None:
        self.bytes_per_second = bits_per_second / 8
        self.passed_bytes = 0
        self._free_at = 0.0
        self._stop_after: int | None = None

    def stop_after(self, count: int | None) -> None:
        self._stop_after = count

    def before_stop(self, data: bytes) -> bytes:
        """All of it, unless it goes beyond where it is to stop; that holds once."""
        if self._stop_after is None:
            return data
        passing = data[: self._stop_after]
        self._stop_after = self._stop_after - len(data) if len(data) <= self._stop_after else None
        return passing

    async def take(self, count: int) -> None:
        self.passed_bytes += count
        if not self.bytes_per_second:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - _BURST_SECONDS) + count / self.bytes_per_second
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
