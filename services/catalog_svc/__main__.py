"""`python -m catalog_svc --config FILE`: the catalog as a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from librarian.api.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from svckit.database import Database
from svckit.migrations import migrate
from svckit.notifications import Bell, listening
from svckit.server import Runtime, ServicerRegistration
from svckit.server import main as serve

from .context import Context
from .queries import log
from .servicer import CatalogServicer
from .upkeep import keep_clean, keep_sums

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name


@asynccontextmanager
async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    section, database = runtime.settings.catalog, runtime.settings.database
    await migrate(section.dsn, section.schema, MIGRATIONS, database.migrate)
    async with (
        Database.open(
            section.dsn,
            schema=section.schema,
            pool_size=database.pool_size,
            application_name="librarian-catalog",
        ) as opened,
        listening(
            section.dsn, log.channel_of(section.schema), application_name="librarian-catalog-listen"
        ) as appended,
    ):
        context = Context(
            runtime.settings.site.name,
            opened,
            runtime.clock,
            runtime.faults,
            runtime.logger,
            appended,
            runtime.stopping,
        )
        await _recognise_database(context)
        runtime.spawn("keep_sums", keep_sums(context))
        runtime.spawn("keep_clean", keep_clean(context))
        runtime.spawn("end_watches", _end_watches(runtime, appended))
        servicer = CatalogServicer(context)
        yield [
            ServicerRegistration(
                (SERVICE,),
                lambda server: catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server),
            )
        ]


async def _recognise_database(context: Context) -> None:
    """Begins a new epoch of the event log where the database was restored since the last start."""
    async with context.database.hot() as connection:
        incarnation = await log.incarnation(connection)
        now_s = int(context.clock.now().timestamp())
        epoch = await log.begin_epoch(connection, incarnation, now_s)
    if epoch is not None:
        context.logger.info("epoch_begun", epoch=epoch, incarnation=incarnation)


async def _end_watches(runtime: Runtime, appended: Bell) -> None:
    """Wakes the watchers once the service stops, so that none keeps it waiting."""
    await runtime.stopping.wait()
    appended.ring()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; see svckit.server.main."""
    return serve("catalog", build, argv)


if __name__ == "__main__":
    sys.exit(main())
