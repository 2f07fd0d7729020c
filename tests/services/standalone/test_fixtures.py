"""The database fixture gives each test an empty database and leaves none behind."""

from __future__ import annotations

import asyncpg
from support.postgres import PostgresServer


async def test_a_database_is_fresh_and_dropped(postgres: PostgresServer) -> None:
    with postgres.fresh_database() as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE left_behind ()")
        name = await connection.fetchval("SELECT current_database()")
    # The session above is still open: dropping has to end it.
    other = await asyncpg.connect(postgres.dsn)
    assert await other.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0
    await other.close()
    connection.terminate()


async def test_two_tests_do_not_share(database_dsn: str, postgres: PostgresServer) -> None:
    with postgres.fresh_database() as other:
        assert other != database_dsn
    connection = await asyncpg.connect(database_dsn)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()
