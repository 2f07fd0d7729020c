"""Hot reads: statements written in SQLAlchemy Core, compiled once and run on bare asyncpg."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.expression import Executable

from librarian.errors import Unavailable

_GOODBYE_SECONDS = 2.0
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


@dataclass(frozen=True, slots=True)
class HotStatement:
    """`sql` with $1, $2, …; `names[i]` is the parameter of $i+1; `constants` those the statement brings."""

    sql: str
    names: tuple[str, ...]
    constants: dict[str, Any]

    def arguments(self, **values: Any) -> list[Any]:
        """Values in the order of the placeholders. Raises KeyError for one that is missing."""
        constants = self.constants
        return [values[name] if name in values else constants[name] for name in self.names]

    async def fetch(self, connection: asyncpg.Connection[Any], **values: Any) -> list[asyncpg.Record]:
        return await connection.fetch(self.sql, *self.arguments(**values))

    async def fetchrow(self, connection: asyncpg.Connection[Any], **values: Any) -> asyncpg.Record | None:
        return await connection.fetchrow(self.sql, *self.arguments(**values))


def compile_hot(statement: Executable) -> HotStatement:
    """Values given by `bindparam("name")` become arguments; others are kept as constants. `IN` over a
    list does not compile once and raises ValueError: use `= any(:values)`.
    """
    compiled = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    if "[POSTCOMPILE_" in str(compiled):
        raise ValueError("a statement with IN over a list does not compile once: use = any(:values)")
    names = tuple(compiled.positiontup or ())
    required = {name for name in names if compiled.binds[name].required}
    constants = {name: value for name, value in compiled.params.items() if name not in required}
    return HotStatement(str(compiled), names, constants)


class HotPool:
    """A bounded pool without the ceremony of asyncpg's own: no proxy around the connection, no RESET
    round trip after each use. Fit only for single statements that leave no session state.
    """

    def __init__(
        self,
        create: Callable[[], Awaitable[asyncpg.Connection[Any]]],
        *,
        size: int,
        wait_seconds: float,
    ) -> None:
        self._create = create
        self._wait_seconds = wait_seconds
        self._room = asyncio.Semaphore(size)
        self._idle: deque[asyncpg.Connection[Any]] = deque()

    async def acquire(self) -> asyncpg.Connection[Any]:
        """Raises Unavailable: all busy for too long, or the database does not answer."""
        if self._room.locked():
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._room.acquire()
            except TimeoutError as error:
                raise Unavailable("all database connections of this service are busy") from error
        else:
            await self._room.acquire()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._create()
        except BaseException:
            self._room.release()
            raise

    def release(self, connection: asyncpg.Connection[Any], *, broken: bool = False) -> None:
        """`broken`: its state is not known (a cancelled call): it is thrown away."""
        if broken or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._room.release()

    async def close(self) -> None:
        while self._idle:
            await close_quietly(self._idle.pop())


async def close_quietly(connection: asyncpg.Connection[Any]) -> None:
    """Takes leave of the server where it still listens; the socket is closed in any case."""
    try:
        await connection.close(timeout=_GOODBYE_SECONDS)
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
    ):
        connection.terminate()
