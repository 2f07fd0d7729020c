"""The supervisor's end of the fork server: start and signal services, and hear how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field

from standalone.errors import ServiceFailed


def _lost() -> ServiceFailed:
    return ServiceFailed(
        "the process that runs the services was killed, and they with it", remedy="start the site again"
    )


@dataclass(slots=True)
class Child:
    """One run of a service. `ended` holds its exit code, negative for a signal."""

    pid: int
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Children:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._starting: dict[str, asyncio.Future[Child]] = {}
        self._running: dict[str, Child] = {}
        self._listener: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control)
        self._listener = asyncio.create_task(self._listen(reader), name="fork-server")

    async def close(self) -> None:
        """Closing our half makes the fork server end; it stops what still runs, and we wait for it."""
        assert self._writer is not None, "opened first"
        assert self._listener is not None, "opened first"
        if not self._listener.done():
            self._writer.write_eof()
        await self._listener
        self._writer.close()

    async def lost(self) -> None:
        """ServiceFailed when the fork server is gone; to be cancelled before `close`."""
        assert self._listener is not None, "opened first"
        await asyncio.shield(self._listener)
        raise _lost()

    async def start(self, name: str) -> Child:
        starting: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._starting[name] = starting
        self._send({"start": name})
        return await starting

    def signal(self, name: str, number: int) -> None:
        """To the running one; nothing when there is none."""
        self._send({"signal": name, "number": number})

    def running(self, name: str) -> Child | None:
        return self._running.get(name)

    def _send(self, command: dict[str, str | int]) -> None:
        assert self._writer is not None, "opened first"
        self._writer.write(json.dumps(command).encode() + b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        # A reset: it was killed with a word of ours unread.
        with contextlib.suppress(ConnectionResetError):
            while line := await reader.readline():
                self._heard(json.loads(line))
        self._lose()

    def _heard(self, event: dict[str, str | int]) -> None:
        if "started" in event:
            name = str(event["started"])
            child = self._running[name] = Child(int(event["pid"]))
            starting = self._starting.pop(name)
            # Nobody may be waiting any more: a stop in the middle of a start.
            if not starting.done():
                starting.set_result(child)
        else:
            child = self._running.pop(str(event["exited"]))
            child.ended.set_result(int(event["status"]))

    def _lose(self) -> None:
        """Who waits for a start hears of it; how the running ones end will not be told any more."""
        for starting in self._starting.values():
            if not starting.done():
                starting.set_exception(_lost())
        self._starting.clear()
        self._running.clear()
