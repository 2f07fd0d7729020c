"""The store service, wired."""

from __future__ import annotations

import resource
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from librarian import kernel
from librarian.api.store.v1 import store_pb2
from librarian.api.store.v1.store_pb2_grpc import add_StoreServiceServicer_to_server
from store_svc.door import bytes_only, door_credentials, ticket_holders
from store_svc.filesystem import FileSystem
from store_svc.house import House
from store_svc.kit import Kit, Threads
from store_svc.queries import tickets as queries
from store_svc.recovery import Recovery
from store_svc.servicer import StoreServicer
from store_svc.tickets import SECRET_BYTES, TicketOffice
from store_svc.wire import lean
from svckit.addresses import is_loopback, split_host_port
from svckit.database import Database
from svckit.migrations import migrate
from svckit.server import Runtime, ServicerRegistration

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SERVICE: Final = store_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name


@asynccontextmanager
async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    """Raises InvalidConfig and what keeps it from its database."""
    async with _opened(runtime) as kit:
        house = House.of(kit)
        servicer = StoreServicer(house)
        _open_door(runtime, kit, servicer)
        runtime.spawn("recovery", Recovery(kit, house.committer).run_forever())
        try:
            yield [
                ServicerRegistration(
                    (_SERVICE,), lambda server: add_StoreServiceServicer_to_server(servicer, lean(server))
                )
            ]
        finally:
            await house.committer.close()


@asynccontextmanager
async def _opened(runtime: Runtime) -> AsyncIterator[Kit]:
    """The database at its newest schema, threads, and the secrets of tickets."""
    settings = runtime.settings
    store = settings.store
    await migrate(store.dsn, store.schema, MIGRATIONS, settings.database.migrate)
    _allow_many_files()
    kernel.keep_freed_memory()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                store.dsn,
                schema=store.schema,
                pool_size=settings.database.pool_size,
                application_name="librarian-store",
            )
        )
        async with database.transaction() as connection:
            keys = await queries.secrets_of(connection, secrets.token_bytes(SECRET_BYTES))
            revoked = await queries.revoked(connection)
        threads = Threads(store.hash_threads)
        stack.callback(threads.close)
        kit = Kit(
            database=database,
            clock=runtime.clock,
            ids=runtime.ids,
            faults=runtime.faults,
            logger=runtime.logger,
            settings=store,
            filesystem=FileSystem(),
            threads=threads,
            tickets=TicketOffice(keys, revoked, timedelta(seconds=store.ticket_seconds)),
        )
        stack.callback(kit.roots.close)
        yield kit


def _open_door(runtime: Runtime, kit: Kit, servicer: StoreServicer) -> None:
    settings = runtime.settings.store
    if not settings.data_listen:
        return
    credentials = door_credentials(settings)
    if credentials is None and not is_loopback(split_host_port(settings.data_listen)[0]):
        runtime.logger.warning("data_door_without_tls", address=settings.data_listen)
    door = runtime.open_door(
        "store-data", settings.data_listen, authenticate=ticket_holders(kit), credentials=credentials
    )
    door.add(
        ServicerRegistration(
            (_SERVICE,), lambda server: add_StoreServiceServicer_to_server(servicer, bytes_only(server))
        )
    )
    kit.data_address = settings.data_address or door.address


def _allow_many_files() -> None:
    """Streams and batches keep descriptors open; the soft limit of 1024 is for those who use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
