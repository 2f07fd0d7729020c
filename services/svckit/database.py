"""The database of one service: transactions on SQLAlchemy Core, and hot reads on bare asyncpg.

Both speak to the service's own schema (search_path) with UTC and JSON as Python values. Trouble of the
connection, not of the statement, comes out as Unavailable: the caller may try again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from librarian.errors import InvalidConfig, Unavailable
from svckit.hot import HotPool, HotStatement, compile_hot

__all__ = ["Database", "HotStatement", "compile_hot", "connect"]

_CONNECT_SECONDS = 10.0
_WAIT_SECONDS = 20.0
# Class 08: connection exceptions; 57P: the server is going or coming; 53300: too many connections;
# 40001 and 40P01: serialisation failure and deadlock, which a second try resolves.
_PASSING_STATES = ("08", "57P", "53300", "40001", "40P01")


def plain_dsn(dsn: str) -> str:
    """`dsn` as asyncpg takes it. Raises InvalidConfig."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidConfig(
            "config: the database DSN is no PostgreSQL DSN",
            remedy="use postgresql://USER:PASSWORD@HOST/DATABASE, with ?host=/directory for a unix socket",
        )
    return f"postgresql://{rest}"


async def connect(dsn: str, *, schema: str, application_name: str) -> asyncpg.Connection[Any]:
    """One bare connection. Raises Unavailable."""
    try:
        connection = await asyncpg.connect(
            plain_dsn(dsn),
            timeout=_CONNECT_SECONDS,
            server_settings={
                "search_path": schema,
                "application_name": application_name,
                "timezone": "UTC",
                # Short statements only: compiling them costs more than it gains.
                "jit": "off",
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unavailable(error) from error
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return connection


class Database:
    """An async context manager that closes what it opened."""

    def __init__(self, engine: AsyncEngine, hot: HotPool) -> None:
        self._engine = engine
        self._hot = hot

    @classmethod
    def open(cls, dsn: str, *, schema: str, pool_size: int = 8, application_name: str) -> Self:
        """Connects when first used. At most `pool_size` connections for transactions, as many for hot
        reads.
        """
        plain = plain_dsn(dsn)

        async def creator() -> asyncpg.Connection[Any]:
            return await connect(plain, schema=schema, application_name=application_name)

        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=creator,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_WAIT_SECONDS,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        return cls(engine, HotPool(creator, size=pool_size, wait_seconds=_WAIT_SECONDS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._hot.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits when the block ends, rolls back when it raises. Raises Unavailable."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if error.connection_invalidated or is_passing(error):
                raise _unavailable(error.orig or error) from error
            raise
        except PoolTimeout as error:
            raise Unavailable("all database connections of this service are busy") from error

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A bare connection for single statements outside any transaction, prepared statements cached.
        Raises Unavailable.
        """
        connection = await self._hot.acquire()
        try:
            yield connection
        except BaseException as error:
            self._hot.release(connection, broken=not isinstance(error, asyncpg.PostgresError))
            if isinstance(error, asyncpg.PostgresError) and _state_is_passing(error.sqlstate):
                raise _unavailable(error) from error
            if isinstance(error, (asyncpg.InterfaceError, OSError)):
                raise _unavailable(error) from error
            raise
        self._hot.release(connection)


def is_passing(error: DBAPIError) -> bool:
    """Whether doing the same again may work: the server restarts, or two transactions collided."""
    return _state_is_passing(getattr(error.orig, "sqlstate", None))


def _state_is_passing(state: str | None) -> bool:
    return (state or "").startswith(_PASSING_STATES)


def _unavailable(error: BaseException) -> Unavailable:
    # The driver's text may name hosts and roles: it goes to the log with the cause, not to the caller.
    return Unavailable("the database does not answer", cause=type(error).__name__)


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool replace a connection the server has closed meanwhile; asks no server."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError
