"""Bringing a service's schema up to date: Alembic, one version table per schema, one process at a time.

A service has `migrations/env.py`, which calls `run_env(metadata)`, and `migrations/versions/`. When the
schema is current, which is the rule, Alembic is not even imported.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import asyncpg
from sqlalchemy import Connection, MetaData

from librarian.errors import SchemaOutdated, Unavailable
from svckit.database import connect

VERSION_TABLE = "alembic_version"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 600.0
_REVISION = re.compile(r"^revision(?:: *\w+)? *= *[\"']([^\"']+)[\"']", re.MULTILINE)
_DOWN_REVISION = re.compile(r"^down_revision(?:: *[\w| ]+)? *= *[\"']([^\"']+)[\"']", re.MULTILINE)


async def migrate(dsn: str, schema: str, script_location: Path, mode: Literal["auto", "check"]) -> None:
    """Raises SchemaOutdated: `mode` is "check" and the schema is not at the newest revision, or is at one
    that this version does not know. Raises Unavailable.
    """
    heads = newest_revisions(script_location)
    connection = await connect(dsn, schema=schema, application_name=f"librarian-{schema}-migrate")
    try:
        if await _current(connection, schema) == heads:
            return
        if mode == "check":
            raise SchemaOutdated(f"the schema {schema} is not at revision {_listed(heads)}", schema=schema)
        async with _alone(connection, schema):
            if await _current(connection, schema) != heads:
                await _create_schema(connection, schema)
                await _upgrade(dsn, schema, script_location)
    finally:
        await connection.close()


def newest_revisions(script_location: Path) -> frozenset[str]:
    """Revisions that no other follows, read from the scripts' own lines."""
    texts = [path.read_text() for path in sorted((script_location / "versions").glob("*.py"))]
    known = {match for text in texts for match in _REVISION.findall(text)}
    return frozenset(known - {match for text in texts for match in _DOWN_REVISION.findall(text)})


def run_env(metadata: MetaData) -> None:
    """The whole of a service's env.py: runs the migrations on the connection that `migrate` opened."""
    from alembic import context

    connection: Connection = context.config.attributes["connection"]
    schema: str = context.config.attributes["schema"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=schema,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _current(connection: asyncpg.Connection[Any], schema: str) -> frozenset[str]:
    table = f'"{schema}".{VERSION_TABLE}'
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return frozenset()
    rows = await connection.fetch(f"SELECT version_num FROM {table}")  # noqa: S608 - our own names
    return frozenset(row["version_num"] for row in rows)


async def _create_schema(connection: asyncpg.Connection[Any], schema: str) -> None:
    # CREATE SCHEMA IF NOT EXISTS asks for the right to create even where it exists.
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')


@asynccontextmanager
async def _alone(connection: asyncpg.Connection[Any], schema: str) -> AsyncIterator[None]:
    """Polls: waiting inside PostgreSQL for the lock would hold a snapshot that CREATE INDEX CONCURRENTLY
    in the other process waits for, and neither would ever go on.
    """
    key = zlib.crc32(f"librarian-migrate-{schema}".encode())
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110 - see above
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise Unavailable(f"another process has been migrating {schema} for too long") from error
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", key)


async def _upgrade(dsn: str, schema: str, script_location: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def creator() -> asyncpg.Connection[Any]:
        return await connect(dsn, schema=schema, application_name=f"librarian-{schema}-migrate")

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(script_location).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["schema"] = schema
        command.upgrade(config, "heads")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
    except CommandError as error:
        raise SchemaOutdated(
            f"the schema {schema} cannot be brought up to date: {error}",
            remedy="was it last used by a newer version? run that one, or restore a backup",
            schema=schema,
        ) from error
    finally:
        await engine.dispose()


def _listed(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions)) or "none"
