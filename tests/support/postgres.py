"""A PostgreSQL for the tests, from wherever there is one: a DSN, Docker, or the embedded server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from standalone.postgres import EmbeddedPostgres, PostgresOptions

T = TypeVar("T")


class PostgresServer:
    """A server whose administrator's DSN we know; makes and drops databases on it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def database_dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    def execute(self, *statements: str) -> None:
        """Each outside a transaction, as CREATE DATABASE wants it."""

        async def run() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        run_blocking(run())

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        name = f"test_{os.getpid()}_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        try:
            yield self.database_dsn(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            self._drop_roles_of(name)

    def _drop_roles_of(self, database: str) -> None:
        """Roles belong to the whole server: a test that made some named them after its database."""

        async def run() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                roles = await connection.fetch(
                    "SELECT quote_ident(rolname) AS role FROM pg_roles WHERE starts_with(rolname, $1)",
                    f"{database}_",
                )
                for row in roles:
                    await connection.execute(f"DROP ROLE {row['role']}")
            finally:
                await connection.close()

        run_blocking(run())


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it on an event loop of its own thread: the test's own loop is left alone."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@contextlib.contextmanager
def any_postgres() -> Iterator[PostgresServer]:
    given = os.environ.get("LIBRARIAN_TEST_DSN", "")
    if given:
        yield PostgresServer(given)
    elif _docker_answers():
        with _container() as server:
            yield server
    else:
        with embedded_postgres() as server:
            yield server


@contextlib.contextmanager
def embedded_postgres() -> Iterator[PostgresServer]:
    # A directory straight below /tmp: the socket's path has to stay short.
    home = Path(tempfile.mkdtemp(prefix="lib-pg-", dir="/tmp"))
    password = home / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(16))
    server = EmbeddedPostgres(
        PostgresOptions(
            data=home / "pg",
            socket_dir=home,
            password_file=password,
            log=home / "postgres.log",
            durable=False,
        )
    )
    try:
        server.start()
        yield PostgresServer(server.dsn())
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _docker_answers() -> bool:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except DockerException:
            return False


@contextlib.contextmanager
def _container() -> Iterator[PostgresServer]:
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer("postgres:18-alpine", driver=None) as container:
        yield PostgresServer(container.get_connection_url())
