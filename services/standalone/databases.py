"""One database for the site; in it a schema and a login of its own for each service."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from standalone.errors import DatabaseRefused

SCHEMAS = ("catalog", "store", "transfer", "gateway")
OLDEST_VERSION = 15


async def make_database(admin_dsn: str, name: str) -> None:
    """On a server that is all ours: the site's database, closed to every login but ours."""
    connection = await _connect(admin_dsn)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            await connection.execute(f"CREATE DATABASE {_identifier(name)}")
        await connection.execute(f"REVOKE ALL ON DATABASE {_identifier(name)} FROM PUBLIC")
    finally:
        await connection.close()


async def make_logins(dsn: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """{schema: the DSN its service shall use}. Where the DSN's user may not make logins, its own."""
    connection = await _connect(dsn)
    try:
        if connection.get_server_version().major < OLDEST_VERSION:
            raise DatabaseRefused(
                f"the database is PostgreSQL {connection.get_server_version().major}",
                remedy=f"use PostgreSQL {OLDEST_VERSION} or later",
            )
        may = await connection.fetchval(
            "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        if not may:
            return dict.fromkeys(SCHEMAS, dsn)
        database = await connection.fetchval("SELECT current_database()")
        return {
            schema: await _login(connection, dsn, database, schema, passwords[schema]) for schema in SCHEMAS
        }
    finally:
        await connection.close()


async def _login(connection: asyncpg.Connection, dsn: str, database: str, schema: str, password: str) -> str:
    # Logins belong to the whole server: the database's name keeps two sites on one server apart.
    role = f"{database}_{schema}"
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if exists else "CREATE"
    await connection.execute(f"{verb} ROLE {_identifier(role)} LOGIN PASSWORD {_literal(password)}")
    await connection.execute(f"GRANT CONNECT ON DATABASE {_identifier(database)} TO {_identifier(role)}")
    if await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema) is None:
        # Owning what another role owns takes membership; superusers have it of all.
        await connection.execute(f"GRANT {_identifier(role)} TO current_user")
        await connection.execute(f"CREATE SCHEMA {_identifier(schema)} AUTHORIZATION {_identifier(role)}")
    return _with_login(dsn, role, password)


async def _connect(dsn: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        # Never the DSN itself: it holds a password.
        raise DatabaseRefused(f"no connection to the database: {error}") from error


def _with_login(dsn: str, user: str, password: str) -> str:
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
