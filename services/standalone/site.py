"""One run of a site: from an empty directory to a stopped one."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from standalone.early_stop import heed_stops_at_once
from standalone.errors import OtherDatabase
from standalone.forkserver import Program, fork_server
from standalone.home import Home
from standalone.postgres import EmbeddedPostgres, PostgresOptions
from standalone.site_files import SERVICES, choose_places, site_name

# What the services import only when they run; imported before the fork, it is shared too.
PRELOADED = (
    "aiohttp.web",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "standalone.running",
)


@dataclass(frozen=True, slots=True)
class Options:
    home: Path
    # "": the name it has, or the host's.
    name: str = ""
    # None: the last one; 0: any.
    port: int | None = None
    # "": the embedded server.
    database_dsn: str = ""
    # A socket to tell readiness on, and to stop by when its other end is closed.
    control: int | None = None
    # For tests: PostgreSQL may lose what a crash of the machine would lose, and what is killed is started
    # again at once, however often.
    throwaway: bool = False


# A first start makes every service's schema: imported before the fork, that costs its memory once.
FIRST_PRELOADED = ("alembic.command", "alembic.ddl.postgresql", "alembic.runtime.migration")


def run_site(options: Options) -> int:
    """Returns when the site has been stopped. LibrarianError when it cannot start."""
    heed_stops_at_once()
    home = Home(options.home)
    home.make()
    home.lock()
    name = site_name(home, options.name)
    places = choose_places(home, port=options.port)
    postgres: EmbeddedPostgres | None = None
    try:
        home.tell_holder(places.address)
        check_database(home, options.database_dsn)
        postgres = None if options.database_dsn else embedded(home, durable=not options.throwaway)
        if postgres is not None:
            postgres.launch()
        first = () if home.context_file.exists() else FIRST_PRELOADED
        _preload([service.module for service in SERVICES], first)
        control = fork_server(_programs(home))
        from standalone.running import Running

        running = Running(home, name, places, postgres, options)
        return asyncio.run(running.run(control))
    finally:
        if postgres is not None:
            postgres.stop()
        places.ports.close()
        home.tidy()


def check_database(home: Home, dsn: str) -> None:
    """OtherDatabase where this site's data is elsewhere than asked for: it would look empty."""
    if dsn and home.postgres.exists():
        raise OtherDatabase(
            f"this site keeps its data in its own PostgreSQL, {home.postgres}",
            remedy="unset LIBRARIAN_DATABASE_DSN, or give another --home",
        )
    if not dsn and not home.postgres.exists() and home.context_file.exists():
        raise OtherDatabase(
            "this site keeps its data in a PostgreSQL of yours, and none is named",
            remedy="set LIBRARIAN_DATABASE_DSN as at its first start",
        )


def embedded(home: Home, *, durable: bool) -> EmbeddedPostgres:
    home.secret("postgres.password")
    return EmbeddedPostgres(
        PostgresOptions(
            data=home.postgres,
            socket_dir=home.run,
            password_file=home.keys / "postgres.password",
            log=home.logs / "postgres.log",
            durable=durable,
        )
    )


def _programs(home: Home) -> list[Program]:
    return [
        Program(
            name=service.name,
            module=service.module,
            argv=("--config", str(home.run / f"{service.name}.toml")),
            log=home.logs / f"{service.name}.log",
            pid_file=home.run / f"{service.name}.pid",
        )
        for service in SERVICES
    ]


def _preload(modules: Sequence[str], first: Sequence[str]) -> None:
    for module in (*modules, *PRELOADED, *first):
        importlib.import_module(module)
