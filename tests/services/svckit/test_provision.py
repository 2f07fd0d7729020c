"""Roles and schemas of the services: separate, and safe to ask for again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from librarian.errors import Refused
from svckit.provision import ServiceRole, dsn_of, provision


@pytest.fixture
def roles() -> list[ServiceRole]:
    # Roles belong to the whole server, which other tests use too.
    tail = secrets.token_hex(4)
    return [
        ServiceRole(schema, f"{schema}_{tail}", f"p'a\"s s%@:/{secrets.token_hex(4)}")
        for schema in ("catalog", "store")
    ]


@pytest.fixture(autouse=True)
async def _drop_roles(database_dsn: str, roles: list[ServiceRole]) -> AsyncIterator[None]:
    yield
    connection = await asyncpg.connect(database_dsn)
    for role in roles:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{role.schema}" CASCADE')
        if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role.role):
            await connection.execute(f'DROP OWNED BY "{role.role}"')
            await connection.execute(f'DROP ROLE "{role.role}"')
    await connection.close()


async def ask(dsn: str, *statements: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            answer = await connection.fetchval(statement)
        return answer
    finally:
        await connection.close()


async def test_each_works_in_its_own_schema_and_sees_no_other(
    database_dsn: str, roles: list[ServiceRole]
) -> None:
    dsns = await provision(database_dsn, roles)
    assert sorted(dsns) == ["catalog", "store"]
    made = "CREATE TABLE catalog.t (n int)"
    assert await ask(dsns["catalog"], made, "SELECT current_user") == roles[0].role
    for forbidden in ("SELECT * FROM catalog.t", "CREATE TABLE catalog.u (n int)", "CREATE SCHEMA mine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(dsns["store"], forbidden)


async def test_again_is_harmless_and_sets_the_password(database_dsn: str, roles: list[ServiceRole]) -> None:
    first = await provision(database_dsn, roles)
    await ask(first["catalog"], "CREATE TABLE catalog.t AS SELECT 1 AS n")
    changed = [ServiceRole(role.schema, role.role, "new") for role in roles]
    second = await provision(database_dsn, changed)
    assert await ask(second["catalog"], "SELECT n FROM catalog.t") == 1


async def test_at_the_same_moment(database_dsn: str, roles: list[ServiceRole]) -> None:
    answers = await asyncio.gather(*(provision(database_dsn, roles) for _ in range(4)))
    assert all(answer == answers[0] for answer in answers)


async def test_an_admin_who_may_create_roles_is_enough(database_dsn: str, roles: list[ServiceRole]) -> None:
    """No superuser is needed, as is usual with a hosted PostgreSQL."""
    admin = ServiceRole("unused", f"admin_{secrets.token_hex(4)}", "a")
    database = await ask(database_dsn, "SELECT current_database()")
    await ask(
        database_dsn,
        f"CREATE ROLE {admin.role} LOGIN CREATEROLE PASSWORD 'a'",
        f"GRANT CREATE ON DATABASE {database} TO {admin.role}",
    )
    try:
        dsns = await provision(dsn_of(database_dsn, admin), roles)
        await provision(dsn_of(database_dsn, admin), roles)
        await ask(dsns["store"], "CREATE TABLE store.t (n int)")
    finally:
        await ask(
            database_dsn,
            *(f'DROP SCHEMA IF EXISTS "{role.schema}" CASCADE' for role in roles),
            *(f'DROP OWNED BY "{role.role}"' for role in roles),
            *(f'DROP ROLE "{role.role}"' for role in roles),
            f"DROP OWNED BY {admin.role}",
            f"DROP ROLE {admin.role}",
        )


async def test_an_admin_who_may_not_is_told_what_is_missing(
    database_dsn: str, roles: list[ServiceRole]
) -> None:
    poor = ServiceRole("unused", f"poor_{secrets.token_hex(4)}", "p")
    await ask(database_dsn, f"CREATE ROLE {poor.role} LOGIN PASSWORD 'p'")
    try:
        with pytest.raises(Refused) as caught:
            await provision(dsn_of(database_dsn, poor), roles)
        assert "CREATEROLE" in caught.value.remedy
    finally:
        await ask(database_dsn, f"DROP ROLE {poor.role}")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("postgresql://a:b@h:1/d", "postgresql://r:p%20%40@h:1/d"),
        ("postgresql://a@/d?host=/tmp/x", "postgresql://r:p%20%40@/d?host=/tmp/x"),
        ("postgresql+asyncpg:///d?host=/tmp/x", "postgresql://r:p%20%40@/d?host=/tmp/x"),
    ],
)
def test_dsns_keep_their_place(given: str, made: str) -> None:
    assert dsn_of(given, ServiceRole("s", "r", "p @")) == made
