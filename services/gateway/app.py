"""What a gateway is made of, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway.admintoken import ensure_admin_token
from gateway.authentication import Authentication
from gateway.backends import open_backends
from gateway.files import replace_file
from gateway.front import credentials_of
from gateway.methods import ADD_STORE, LIST_STORES, PROXIED_SERVICES
from gateway.opencalls import OpenCalls
from gateway.proxy import Proxy
from gateway.queries import channel_of
from gateway.revocations import TicketRevocations
from gateway.routing import Router
from gateway.servicer import SiteServicer
from gateway.stores import StoreDesk
from gateway.tokendesk import TokenDesk, replay_key
from gateway.watch import TokenWatch
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.gateway.v1.gateway_pb2_grpc import add_SiteServiceServicer_to_server
from librarian.errors import InvalidConfig, Unavailable
from svckit.auth import GATEWAY, Signer
from svckit.database import Database
from svckit.keys import load_private_key
from svckit.migrations import migrate
from svckit.notifications import listening
from svckit.server import Runtime, ServicerRegistration

MIGRATIONS = Path(__file__).parent / "migrations"
_SITE_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["SiteService"].full_name
_SWEEP_SECONDS = 3600.0


@asynccontextmanager
async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    """Opens all a gateway needs, its door included, and closes it again. Raises InvalidConfig and what
    keeps it from its database.
    """
    settings = runtime.settings.gateway
    if not runtime.settings.auth.keys_dir:
        raise InvalidConfig("config: auth.keys_dir is not set", key="auth.keys_dir")
    key = load_private_key(Path(runtime.settings.auth.keys_dir) / f"{GATEWAY}.key")
    signer = Signer(GATEWAY, key, clock=runtime.clock)
    credentials = credentials_of(settings)
    await migrate(settings.dsn, settings.schema, MIGRATIONS, runtime.settings.database.migrate)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                settings.dsn,
                schema=settings.schema,
                pool_size=runtime.settings.database.pool_size,
                application_name="librarian-gateway",
            )
        )
        backends = await stack.enter_async_context(open_backends(runtime.settings.services))
        bell = await stack.enter_async_context(
            listening(settings.dsn, channel_of(settings.schema), application_name="librarian-gateway-ear")
        )
        calls = OpenCalls()
        authentication = Authentication(database, runtime.clock)
        watch = TokenWatch(database, runtime.clock, calls, authentication, runtime.logger)
        desk = TokenDesk(
            database, runtime.clock, runtime.ids, key=replay_key(key), store_services=backends.stores
        )
        if settings.admin_token_file:
            await ensure_admin_token(Path(settings.admin_token_file), desk, authentication, runtime.logger)
        stores = StoreDesk(backends, signer)
        proxy = Proxy(
            Router(backends, stores.directory),
            signer,
            calls,
            runtime.faults,
            checks={ADD_STORE: stores.check_new},
            answering={LIST_STORES: stores.list_stores},
        )
        servicer = SiteServicer(runtime.settings.site.name, runtime.clock, desk, watch, bell, backends)
        door = runtime.open_door(
            GATEWAY, settings.listen, authenticate=authentication, credentials=credentials
        )
        runtime.address = door.address
        door.add(
            ServicerRegistration(
                (_SITE_SERVICE,), lambda server: add_SiteServiceServicer_to_server(servicer, server)
            )
        )
        door.add(
            ServicerRegistration(PROXIED_SERVICES, lambda server: server.add_generic_rpc_handlers((proxy,)))
        )
        if settings.address_file:
            file = Path(settings.address_file)
            runtime.on_serving(lambda: asyncio.to_thread(replace_file, file, f"{door.address}\n", mode=0o644))
        runtime.spawn("token-watch", watch.follow(bell))
        for name, backend in backends.stores.items():
            outbox = TicketRevocations(
                name,
                backend,
                database=database,
                clock=runtime.clock,
                signer=signer,
                logger=runtime.logger,
            )
            runtime.spawn(f"ticket-revocations-{name}", outbox.follow(bell))
        runtime.spawn("sweep", _sweep(desk, runtime))
        yield ()


async def _sweep(desk: TokenDesk, runtime: Runtime) -> None:
    while True:
        try:
            await desk.sweep()
        except Unavailable as error:
            runtime.logger.warning("sweep_put_off", message=error.message)
        await asyncio.sleep(_SWEEP_SECONDS)
