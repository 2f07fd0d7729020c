"""Roles and schemas of a site's services in one database: each service sees its own schema only."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from librarian.errors import Refused
from svckit.database import connect, plain_dsn

SCHEMAS = ("catalog", "store", "transfer", "gateway")


@dataclass(frozen=True, slots=True)
class ServiceRole:
    """`role` owns `schema` and logs in with `password`. Roles belong to the whole PostgreSQL server: two
    sites on one server need different ones.
    """

    schema: str
    role: str
    password: str


def site_roles(database: str, passwords: Mapping[str, str]) -> list[ServiceRole]:
    """The roles of a site by {schema: password}. Named for the database, which keeps two sites on one server
    apart.
    """
    return [ServiceRole(schema, f"{database}_{schema}", passwords[schema]) for schema in SCHEMAS]


async def provision(admin_dsn: str, roles: Sequence[ServiceRole]) -> dict[str, str]:
    """Makes what is missing and sets the passwords; answers the DSN of each schema.

    `admin_dsn` is of the database itself, by a role that may create roles. Raises Refused where it may
    not, Unavailable.
    """
    connection = await connect(admin_dsn, schema="pg_catalog", application_name="librarian-provision")
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", zlib.crc32(b"librarian-provision"))
            for role in roles:
                await _provide(connection, role)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(
            f"the admin DSN may not create roles and schemas: {error}",
            remedy="use a role with CREATEROLE that owns the database, or give each service a DSN of its own",
        ) from error
    finally:
        await connection.close()
    return {role.schema: dsn_of(admin_dsn, role) for role in roles}


async def provision_site(admin_dsn: str, passwords: Mapping[str, str]) -> list[str]:
    """`provision` for all schemas of a site; answers the names of the roles."""
    connection = await connect(admin_dsn, schema="pg_catalog", application_name="librarian-provision")
    try:
        database = await connection.fetchval("SELECT current_database()")
    finally:
        await connection.close()
    roles = site_roles(database, passwords)
    await provision(admin_dsn, roles)
    return [role.role for role in roles]


def dsn_of(dsn: str, role: ServiceRole) -> str:
    """`dsn` with the role's name and password instead of the ones it has."""
    parts = urlsplit(plain_dsn(dsn))
    place = parts.netloc.rpartition("@")[2]
    login = f"{quote(role.role, safe='')}:{quote(role.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{place}"))


async def _provide(connection: asyncpg.Connection[Any], wanted: ServiceRole) -> None:
    role, schema = _quoted(wanted.role), _quoted(wanted.schema)
    verb = "ALTER" if await _exists(connection, "pg_roles", "rolname", wanted.role) else "CREATE"
    # Utility statements take no parameters: have the server quote the password.
    password = await connection.fetchval("SELECT quote_literal($1::text)", wanted.password)
    await connection.execute(f"{verb} ROLE {role} LOGIN PASSWORD {password}")
    if not await _exists(connection, "pg_namespace", "nspname", wanted.schema):
        # To make something another's, one must be able to act as that other.
        if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            await connection.execute(f"GRANT {role} TO CURRENT_USER")
        await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}")
    await connection.execute(f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC")
    # Everyone may connect unless somebody has revoked it.
    if not await connection.fetchval(
        "SELECT has_database_privilege($1, current_database(), 'CONNECT')", wanted.role
    ):
        database = _quoted(await connection.fetchval("SELECT current_database()"))
        await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {role}")


async def _exists(connection: asyncpg.Connection[Any], catalogue: str, column: str, name: str) -> bool:
    found = await connection.fetchval(f"SELECT 1 FROM {catalogue} WHERE {column} = $1", name)  # noqa: S608 - our own names
    return found is not None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
