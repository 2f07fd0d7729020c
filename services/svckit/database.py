"""The database of one service: transactions on SQLAlchemy Core, and hot reads on bare asyncpg.

Both speak to the service's own schema (search_path) with UTC and JSON as Python values. Trouble of the
connection, not of the statement, comes out as Unavailable: the caller may try again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from librarian.errors import Unavailable
from svckit.addresses import plain_dsn
from svckit.hot import HotPool, HotStatement, compile_hot

__all__ = ["Database", "HotStatement", "compile_hot", "connect", "plain_dsn"]

_CONNECT_SECONDS = 10.0
_WAIT_SECONDS = 20.0
# Class 08: connection exceptions; 57P: the server is going or coming; 53300: too many connections.
_GONE_STATES = ("08", "57P", "53300")
# What asyncpg raises of its own when the connection broke; InterfaceError also for wrong arguments.
_BROKEN = (asyncpg.InterfaceError, asyncpg.InternalClientError)
# Serialisation failure and deadlock.
_COLLISION_STATES = ("40001", "40P01")


async def connect(dsn: str, *, schema: str, application_name: str) -> asyncpg.Connection[Any]:
    """One bare connection. Raises Unavailable."""
    try:
        return await asyncpg.connect(
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
    except (OSError, TimeoutError, asyncpg.PostgresError, *_BROKEN) as error:
        raise _unavailable(error) from error


async def _connect_hot(dsn: str, *, schema: str, application_name: str) -> asyncpg.Connection[Any]:
    connection = await connect(dsn, schema=schema, application_name=application_name)
    # As SQLAlchemy does on its own connections.
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
        place = {"dsn": plain_dsn(dsn), "schema": schema, "application_name": application_name}
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect(**place),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_WAIT_SECONDS,
            # Errors are logged, and values may be secret.
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        hot = HotPool(lambda: _connect_hot(**place), size=pool_size, wait_seconds=_WAIT_SECONDS)
        return cls(engine, hot)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._hot.close()
        await self._engine.dispose()
        # Sockets of connections that were cut off are closed by the loop, in its next turn.
        await asyncio.sleep(0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits when the block ends, rolls back when it raises. Raises Unavailable."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if error.connection_invalidated or _is_passing(error.orig):
                raise _unavailable(error.orig) from error
            raise
        except (asyncpg.PostgresError, asyncpg.InternalClientError) as error:
            # Of the driver's own calls, such as COPY, and where the server went away between two.
            if isinstance(error, asyncpg.InternalClientError) or _is_passing(error):
                raise _unavailable(error) from error
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
            lost = isinstance(error, _BROKEN) and (
                connection.is_closed() or isinstance(error, asyncpg.InternalClientError)
            )
            self._hot.release(connection, broken=_leaves_unknown(error))
            if lost or _is_passing(error):
                raise _unavailable(error) from error
            raise
        self._hot.release(connection)


def _is_passing(error: BaseException | None) -> bool:
    """Whether doing the same again may work: the server restarts, or two transactions collided."""
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith((*_GONE_STATES, *_COLLISION_STATES))


def _leaves_unknown(error: BaseException) -> bool:
    """Whether a statement may still be running on the connection, or it is broken."""
    return not isinstance(error, Exception) or isinstance(
        error, (asyncpg.InterfaceError, OSError, TimeoutError)
    )


def _unavailable(error: BaseException | None) -> Unavailable:
    # Not the driver's text: it names hosts and roles, and this goes to callers. The log has the cause.
    if str(getattr(error, "sqlstate", "")).startswith(_COLLISION_STATES):
        return Unavailable("two changes collided in the database, and this one was given up")
    return Unavailable(f"the database does not answer ({type(error).__name__})")


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool replace a connection the server has closed meanwhile; asks no server."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError
