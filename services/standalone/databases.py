"""One database for the site; in it a schema and a login of its own for each service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from standalone.errors import DatabaseRefused
from svckit.database import plain_dsn
from svckit.provision import SCHEMAS, provision, site_roles

__all__ = ["OLDEST_VERSION", "SCHEMAS", "make_database", "make_logins"]

OLDEST_VERSION = 15


async def make_database(admin_dsn: str, name: str) -> None:
    """On a server that is all ours: the site's database, closed to every login but ours."""
    quoted = f'"{name}"'
    async with _connection(admin_dsn) as connection:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            await connection.execute(f"CREATE DATABASE {quoted}")
        await connection.execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")


async def make_logins(dsn: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """{schema: the DSN its service shall use}. Where the DSN's user may not make logins, its own."""
    async with _connection(dsn) as connection:
        version = connection.get_server_version().major
        if version < OLDEST_VERSION:
            raise DatabaseRefused(
                f"the database is PostgreSQL {version}", remedy=f"use PostgreSQL {OLDEST_VERSION} or later"
            )
        may = await connection.fetchval(
            "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        database = await connection.fetchval("SELECT current_database()")
    if not may:
        return dict.fromkeys(SCHEMAS, dsn)
    return await provision(dsn, site_roles(database, passwords))


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    try:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(plain_dsn(dsn))
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        # Never the DSN itself: it holds a password.
        raise DatabaseRefused(f"no connection to the database: {error}") from error
    try:
        yield connection
    finally:
        await connection.close()
