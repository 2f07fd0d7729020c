"""NOTIFY as a hint: wakes those who would otherwise look again only when their timer ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from librarian.errors import Unavailable
from svckit.database import connect
from svckit.hot import close_quietly

_RECONNECT_SECONDS = 2.0


class Bell:
    """Rings at each NOTIFY, and after a lost connection, during which one may have been missed.

    Take `mark()`, look into the database, then `wait(mark)`: what happened in between is not missed.
    """

    def __init__(self) -> None:
        self._count = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        self._count += 1
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def mark(self) -> int:
        return self._count

    async def wait(self, mark: int, seconds: float) -> bool:
        """Whether it rang since `mark` was taken; waits for it at most `seconds`."""
        if self._count != mark:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._next.wait()
        except TimeoutError:
            return False
        return True


def _not_heard(_payload: str) -> None:
    """For those to whom the ring is enough."""


@asynccontextmanager
async def listening(
    dsn: str,
    channel: str,
    *,
    application_name: str,
    reconnect_seconds: float = _RECONNECT_SECONDS,
    hear: Callable[[str], None] = _not_heard,
) -> AsyncIterator[Bell]:
    """A bell for `channel` (names are shared by the whole database: begin them with the schema's), on a
    connection of its own that is made again whenever it breaks.

    `hear` is given each payload before the bell rings; "" after a lost connection.
    """
    bell = Bell()

    def ring(payload: str) -> None:
        hear(payload)
        bell.ring()

    task = asyncio.create_task(_listen(ring, dsn, channel, application_name, reconnect_seconds))
    try:
        yield bell
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(
    ring: Callable[[str], None], dsn: str, channel: str, application_name: str, reconnect_seconds: float
) -> None:
    while True:
        try:
            connection = await connect(dsn, schema="pg_catalog", application_name=application_name)
        except Unavailable:
            await asyncio.sleep(reconnect_seconds)
            continue
        await _pass_on(connection, channel, ring)


async def _pass_on(connection: asyncpg.Connection[Any], channel: str, ring: Callable[[str], None]) -> None:
    """Until the connection is lost."""
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda *_: lost.set())
        await connection.add_listener(channel, lambda *heard: ring(heard[-1]))
        ring("")
        await lost.wait()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        lost.set()
    finally:
        await close_quietly(connection)


async def notify(connection: Any, channel: str, payload: str = "") -> None:
    """Rings the bells of `channel` when this transaction commits, telling `payload` to who hears it.
    `connection`: a SQLAlchemy one.
    """
    from sqlalchemy import func, select

    await connection.execute(select(func.pg_notify(channel, payload)))
