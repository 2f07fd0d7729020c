"""Transactions, hot reads, and trouble of the connection."""
# ruff: noqa: PT012 - what is tested is how the block around the statements ends

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, any_, bindparam, func, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import IntegrityError

from librarian.errors import DatasetNotFound, InvalidConfig, Unavailable
from svckit.database import Database, compile_hot

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("tags", JSONB, nullable=False, server_default="{}"),
)
by_name = compile_hot(select(things).where(things.c.name == bindparam("name")))
by_names = compile_hot(
    select(things.c.name).where(things.c.name == any_(bindparam("names", type_=ARRAY(Text)))).order_by("name")
)
add = compile_hot(insert(things).values(name=bindparam("name"), size=1, tags=bindparam("tags")))


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(database_dsn, schema="kit", pool_size=2, application_name="kit-test") as opened:
        async with opened.transaction() as connection:
            await connection.execute(text("CREATE SCHEMA kit"))
            await connection.run_sync(metadata.create_all)
        yield opened


async def sizes(database: Database) -> dict[str, int]:
    async with database.transaction() as connection:
        return {row.name: row.size for row in await connection.execute(select(things))}


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(things).values(name="a", size=1))
    with pytest.raises(DatasetNotFound):
        async with database.transaction() as connection:
            await connection.execute(insert(things).values(name="b", size=2))
            raise DatasetNotFound("changed my mind")
    with pytest.raises(IntegrityError):
        async with database.transaction() as connection:
            await connection.execute(insert(things).values(name="c", size=3))
            await connection.execute(insert(things).values(name="a", size=1))
    assert await sizes(database) == {"a": 1}


async def test_the_schema_is_the_services_own(database: Database) -> None:
    async with database.transaction() as connection:
        assert await connection.scalar(text("SHOW search_path")) == "kit"
        assert await connection.scalar(text("SHOW timezone")) == "UTC"
    async with database.hot() as hot:
        assert await hot.fetchval("SELECT current_schema()") == "kit"
        assert await hot.fetchval("SHOW application_name") == "kit-test"


async def test_hot_statements(database: Database) -> None:
    async with database.hot() as hot:
        await add.fetch(hot, name="a", tags={"level": 2})
        await add.fetch(hot, name="b", tags={})
        row = await by_name.fetchrow(hot, name="a")
        assert row is not None
        assert (row["size"], row["tags"]) == (1, {"level": 2})
        assert await by_name.fetchrow(hot, name="none") is None
        assert [row["name"] for row in await by_names.fetch(hot, names=["b", "a", "x"])] == ["a", "b"]


async def test_both_see_json_the_same_way(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(things).values(name="a", size=1, tags={"ü": [1, None]}))
        row = (await connection.execute(select(things))).one()
        assert row.tags == {"ü": [1, None]}
    async with database.hot() as hot:
        found = await by_name.fetchrow(hot, name="a")
        assert found is not None
        assert found["tags"] == {"ü": [1, None]}


async def backend(connection: Any) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid


async def test_a_hot_connection_is_used_again_after_an_error_of_the_statement(database: Database) -> None:
    async with database.hot() as hot:
        first = await backend(hot)
    with pytest.raises(asyncpg.UndefinedTableError):
        async with database.hot() as hot:
            await hot.fetch("SELECT * FROM nowhere")
    with pytest.raises(DatasetNotFound):
        async with database.hot():
            raise DatasetNotFound("no such dataset")
    async with database.hot() as hot:
        assert await backend(hot) == first


async def test_a_hot_connection_is_thrown_away_when_its_state_is_unknown(database: Database) -> None:
    async with database.hot() as hot:
        first = await backend(hot)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), database.hot() as hot:
            await hot.fetch("SELECT pg_sleep(60)")
    with pytest.raises(DatasetNotFound):
        async with database.hot() as hot:
            second = await backend(hot)
            await hot.execute("BEGIN")
            raise DatasetNotFound("left in a transaction")
    async with database.hot() as hot:
        assert len({first, second, await backend(hot)}) == 3


async def test_a_mistake_of_ours_is_not_called_unavailable(database: Database) -> None:
    with pytest.raises(asyncpg.InterfaceError):
        async with database.hot() as hot:
            await hot.fetch("SELECT $1::int")
    with pytest.raises(asyncpg.DataError):
        async with database.hot() as hot:
            await hot.fetch("SELECT $1::int", "no number")


async def test_hot_connections_are_bounded(database: Database) -> None:
    at_once = most = 0

    async def use() -> None:
        nonlocal at_once, most
        async with database.hot() as hot:
            at_once += 1
            most = max(most, at_once)
            await hot.fetchval("SELECT pg_sleep(0.01)")
            at_once -= 1

    await asyncio.gather(*(use() for _ in range(10)))
    assert most == 2


async def test_a_restarted_server_costs_at_most_one_refusal(database: Database, database_dsn: str) -> None:
    """Connections that died while idle are replaced unseen; one that dies in use is Unavailable."""
    admin = await asyncpg.connect(database_dsn)
    kill_all = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'kit-test'"
    )
    try:
        async with database.hot() as hot:
            await hot.fetchval("SELECT 1")
        await sizes(database)
        assert await admin.fetchval(kill_all) >= 2
        # The news of it has to come in before it can be seen.
        async with asyncio.timeout(5):
            while not all(hot.is_closed() for hot in database._hot._idle):  # noqa: ASYNC110 - asyncpg tells nobody
                await asyncio.sleep(0.01)
        async with database.hot() as hot:
            assert await hot.fetchval("SELECT 1") == 1
        assert await sizes(database) == {}
        with pytest.raises(Unavailable):
            async with database.hot() as hot:
                await admin.fetchval(kill_all)
                await hot.fetchval("SELECT 1")
        with pytest.raises(Unavailable):
            async with database.transaction() as connection:
                await admin.fetchval(kill_all)
                await connection.execute(select(1))
        assert await sizes(database) == {}
    finally:
        await admin.close()


async def test_a_collision_is_unavailable_and_not_a_bug(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(things), [{"name": "a", "size": 0}, {"name": "b", "size": 0}])
    both = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.transaction() as connection:
            await connection.execute(select(things).where(things.c.name == first).with_for_update())
            await both.wait()
            await connection.execute(select(things).where(things.c.name == second).with_for_update())

    results = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, Unavailable)
    assert "collided" in error.message


async def test_copy_errors_of_the_driver_pass_through(database: Database) -> None:
    async with database.transaction() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.copy_records_to_table("things", records=[("a", 1, "{}"), ("b", 2, "{}")])
        assert await connection.scalar(select(func.count()).select_from(things)) == 2
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction() as connection:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.copy_records_to_table("things", records=[("a", 1, "{}")])


async def test_no_server_is_unavailable_and_keeps_the_password(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    nowhere = tmp_path_factory.mktemp("n")
    dsn = f"postgresql://someone:hunter2@/x?host={nowhere}"
    async with Database.open(dsn, schema="kit", pool_size=1, application_name="t") as database:
        for attempt in (database.transaction, database.hot):
            with pytest.raises(Unavailable) as caught:
                async with attempt():
                    pass
            assert "hunter2" not in f"{caught.value.message}{caught.value.metadata}"


async def test_a_wrong_dsn_is_told() -> None:
    with pytest.raises(InvalidConfig):
        Database.open("mysql://x", schema="kit", application_name="t")
