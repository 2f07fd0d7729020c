"""What a gateway is made of, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway.admintoken import ensure_admin_token
from gateway.authentication import Authentication
from gateway.backends import open_backends
from gateway.derived import TOKEN_REPLAY, derived_key
from gateway.doorkeeper import Doorkeeper
from gateway.files import replace_file
from gateway.front import credentials_of
from gateway.methods import ADD_STORE, LIST_STORES, PROXIED_SERVICES
from gateway.opencalls import OpenCalls
from gateway.peerdesk import PeerDesk
from gateway.peering import open_peering
from gateway.proxy import Proxy
from gateway.queries import channel_of
from gateway.revocations import TicketRevocations
from gateway.routing import Router
from gateway.servicer import SiteServicer
from gateway.stores import StoreDesk
from gateway.tokendesk import TokenDesk
from gateway.watch import CallWatch, ends_of_tokens
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
        peering = await stack.enter_async_context(
            open_peering(runtime, database, backends, bell, key=key, signer=signer)
        )
        calls = OpenCalls()
        authentication = Authentication(database, runtime.clock)
        watch = CallWatch(
            calls,
            ends_of_tokens(database, runtime.clock),
            runtime.clock,
            runtime.logger,
            forget=authentication.forget,
        )
        desk = TokenDesk(
            database,
            runtime.clock,
            runtime.ids,
            key=derived_key(key, TOKEN_REPLAY),
            store_services=backends.stores,
        )
        if settings.admin_token_file:
            await ensure_admin_token(Path(settings.admin_token_file), desk, authentication, runtime.logger)
        stores = StoreDesk(backends, signer)
        proxy = Proxy(
            Router(backends, stores.directory),
            signer,
            calls,
            peering.calls,
            runtime.faults,
            checks={ADD_STORE: stores.check_new},
            answering={LIST_STORES: stores.list_stores},
        )
        servicer = SiteServicer(runtime.settings.site.name, runtime.clock, desk, watch, bell, backends)
        doorkeeper = Doorkeeper(authentication, peering.authentication)
        door = runtime.open_door(GATEWAY, settings.listen, authenticate=doorkeeper, credentials=credentials)
        runtime.address = door.address
        door.add(
            ServicerRegistration(
                (_SITE_SERVICE,), lambda server: add_SiteServiceServicer_to_server(servicer, server)
            )
        )
        for registration in peering.registrations:
            door.add(registration)
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
        peering.spawn(runtime)
        runtime.spawn("sweep", _sweep(desk, peering.desk, runtime))
        yield ()


async def _sweep(tokens: TokenDesk, peers: PeerDesk, runtime: Runtime) -> None:
    while True:
        try:
            await tokens.sweep()
            await peers.sweep()
        except Unavailable as error:
            runtime.logger.warning("sweep_put_off", message=error.message)
        await asyncio.sleep(_SWEEP_SECONDS)
