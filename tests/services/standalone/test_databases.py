"""Each service has a login of its own, and sees nothing of the others'."""

from __future__ import annotations

import asyncpg
import pytest
from support.postgres import PostgresServer, run_blocking

from standalone.databases import SCHEMAS, make_database, make_logins
from standalone.errors import DatabaseRefused
from svckit.provision import ServiceRole, dsn_of

PASSWORDS = {schema: f"pw '{schema}\" %/@" for schema in SCHEMAS}


@pytest.fixture
def logins(postgres: PostgresServer, database_dsn: str) -> dict[str, str]:
    made = run_blocking(make_logins(database_dsn, PASSWORDS))
    # Again, as every start does.
    assert run_blocking(make_logins(database_dsn, PASSWORDS)) == made
    return made


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_login_owns_its_schema_and_no_other(logins: dict[str, str]) -> None:
    await run(logins["catalog"], "CREATE TABLE catalog.datasets (uid text)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(logins["store"], "SELECT count(*) FROM catalog.datasets")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(logins["store"], "CREATE TABLE catalog.mine (uid text)")
    assert await run(logins["store"], "SELECT current_user::text LIKE '%_store'") is True


async def test_a_user_who_may_not_make_logins_is_used_for_all(logins: dict[str, str]) -> None:
    assert await make_logins(logins["catalog"], PASSWORDS) == dict.fromkeys(SCHEMAS, logins["catalog"])


async def test_a_user_who_may_make_logins_but_is_no_superuser(database_dsn: str) -> None:
    """As hosted databases give: CREATEROLE and the database's ownership."""
    database = str(await run(database_dsn, "SELECT current_database()"))
    owner = f"{database}_owner"
    await run(database_dsn, f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'x'")
    await run(database_dsn, f"ALTER DATABASE {database} OWNER TO {owner}")
    owner_dsn = dsn_of(database_dsn, ServiceRole("", owner, "x"))
    made = await make_logins(owner_dsn, PASSWORDS)
    assert await make_logins(owner_dsn, PASSWORDS) == made
    await run(made["transfer"], "CREATE TABLE transfer.ingests (uid text)")


async def test_the_sites_database_is_closed_to_other_logins(
    postgres: PostgresServer, database_dsn: str
) -> None:
    database = str(await run(database_dsn, "SELECT current_database()"))
    await make_database(postgres.dsn, database)
    await run(postgres.dsn, f"CREATE ROLE {database}_stranger LOGIN PASSWORD 'x'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(dsn_of(database_dsn, ServiceRole("", f"{database}_stranger", "x")), "SELECT 1")


async def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseRefused) as told:
        await make_logins("postgresql://me:hush@127.0.0.1:1/x", PASSWORDS)
    assert "hush" not in told.value.message
