"""What the transfer service and its workers are made of, put together."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from librarian.api.federation.v1 import federation_pb2
from librarian.api.federation.v1.federation_pb2_grpc import add_FederationServiceServicer_to_server
from librarian.api.shipment.v1 import shipment_pb2
from librarian.api.shipment.v1.shipment_pb2_grpc import add_ShipmentServiceServicer_to_server
from librarian.api.transfer.v1 import transfer_pb2
from librarian.api.transfer.v1.transfer_pb2_grpc import add_TransferServiceServicer_to_server
from librarian.errors import InvalidConfig, Unavailable
from svckit.auth import Signer
from svckit.channels import ServiceChannels
from svckit.database import Database
from svckit.idempotency import sweep
from svckit.migrations import migrate
from svckit.notifications import listening
from svckit.server import Runtime, ServicerRegistration
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Channels, Context
from transfer_svc.movers.base import Mover
from transfer_svc.origins import Origins
from transfer_svc.receiving.servicer import FederationServicer
from transfer_svc.sending.assembly import sending
from transfer_svc.sending.means import SendingChannels
from transfer_svc.sending.watching import Watchers
from transfer_svc.servicer import TransferServicer
from transfer_svc.shipping.assembly import shipping
from transfer_svc.shipping.servicer import ShipmentServicer
from transfer_svc.stores import Stores
from transfer_svc.tables import requests
from transfer_svc.waiting import Waiting
from transfer_svc.workers.alarm import Alarm
from transfer_svc.workers.desk import Means
from transfer_svc.workers.metrics import WorkMetrics
from transfer_svc.workers.worker import Worker

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SERVICE: Final = transfer_pb2.DESCRIPTOR.services_by_name["TransferService"].full_name
_FEDERATION: Final = federation_pb2.DESCRIPTOR.services_by_name["FederationService"].full_name
_SHIPMENT: Final = shipment_pb2.DESCRIPTOR.services_by_name["ShipmentService"].full_name
_SWEEP_SECONDS: Final = 3600.0


@asynccontextmanager
async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    """The transfer service. Raises InvalidConfig and what keeps it from its database."""
    settings = runtime.settings.transfer
    waiting = Waiting()
    watchers = Watchers()
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(_opened(runtime))
        await stack.enter_async_context(
            listening(
                settings.dsn,
                context.channels.final,
                application_name="librarian-transfer-ear",
                hear=waiting.hear,
            )
        )
        origins = _origins(runtime)
        changes = SendingChannels.of_schema(settings.schema)
        await stack.enter_async_context(
            listening(settings.dsn, changes.moved, application_name="librarian-moved-ear", hear=watchers.hear)
        )
        servicer = TransferServicer(context, waiting, origins, runtime.stopping, changes, watchers)
        federation = FederationServicer(context, waiting, origins.site_keys, runtime.stopping)
        shipments = ShipmentServicer(context, waiting, runtime.stopping)
        runtime.spawn("sweep", _sweep(context))
        yield [
            ServicerRegistration(
                (_SERVICE,), lambda server: add_TransferServiceServicer_to_server(servicer, server)
            ),
            ServicerRegistration(
                (_FEDERATION,), lambda server: add_FederationServiceServicer_to_server(federation, server)
            ),
            ServicerRegistration(
                (_SHIPMENT,), lambda server: add_ShipmentServiceServicer_to_server(shipments, server)
            ),
        ]


@asynccontextmanager
async def build_worker(
    runtime: Runtime, movers: Mapping[str, Mover] | None = None
) -> AsyncIterator[Sequence[ServicerRegistration]]:
    """A worker: serves nothing but its metrics. `movers`: all there are, where none are given. Raises as
    `build`.
    """
    settings = runtime.settings.transfer
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(_opened(runtime))
        bell = await stack.enter_async_context(
            listening(settings.dsn, context.channels.work, application_name="librarian-worker-ear")
        )
        means = Means(
            alarm=Alarm(),
            rand=random.Random().random,  # noqa: S311 - spreads retries
            metrics=WorkMetrics(runtime.metrics),
            tracing=runtime.tracing,
        )
        origins = _origins(runtime)
        owner = f"{socket.gethostname()}/{os.getpid()}/{context.ids.new_uid()}"
        worker = Worker(
            context,
            means,
            origins,
            runtime.settings.worker,
            bell=bell,
            stopping=runtime.stopping,
            owner=owner,
        )
        await stack.enter_async_context(sending(runtime, context, origins.site_keys, owner, movers))
        await stack.enter_async_context(shipping(runtime, context, origins.site_keys, owner))
        runtime.spawn("claims", worker.run())
        runtime.spawn("leases", worker.keep_leases())
        yield ()
        await worker.close(runtime.settings.server.grace_seconds)


@asynccontextmanager
async def _opened(runtime: Runtime) -> AsyncIterator[Context]:
    """The database at its newest schema, and the way to the other services."""
    settings = runtime.settings
    schema, dsn = settings.transfer.schema, settings.transfer.dsn
    if not settings.auth.keys_dir:
        raise InvalidConfig("config: auth.keys_dir is not set", key="auth.keys_dir")
    await migrate(dsn, schema, MIGRATIONS, settings.database.migrate)
    signer = Signer.load(Path(settings.auth.keys_dir), runtime.name, clock=runtime.clock)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                dsn,
                schema=schema,
                pool_size=settings.database.pool_size,
                application_name=f"librarian-{runtime.name}",
            )
        )
        channels = await stack.enter_async_context(ServiceChannels(settings, signer))
        yield Context(
            database=database,
            channels=Channels.of_schema(schema),
            catalog=channels.catalog,
            stores=Stores({name: channels.store(name) for name in settings.services.stores}, runtime.clock),
            clock=runtime.clock,
            ids=runtime.ids,
            faults=runtime.faults,
            logger=runtime.logger,
            site=settings.site.name,
            lifetime=timedelta(seconds=settings.transfer.ingest_lifetime_seconds),
        )


def _origins(runtime: Runtime) -> Origins:
    return Origins(SiteKeys.load(runtime.settings.site.name, runtime.settings.auth.site_key_file))


async def _sweep(context: Context) -> None:
    """Forgets what repeated requests would have been answered, a week after."""
    while True:
        try:
            async with context.database.transaction() as connection:
                await sweep(connection, requests, now=context.clock.now())
        except Unavailable as error:
            context.logger.warning("sweep_put_off", message=error.message)
        await asyncio.sleep(_SWEEP_SECONDS)
