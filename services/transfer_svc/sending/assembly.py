"""What sends, put together for a worker."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from svckit.auth import Signer
from svckit.channels import ServiceChannels
from svckit.notifications import listening
from svckit.peerlink import PeerAddress, PeerLink, PeerLinks
from svckit.server import Runtime
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Context
from transfer_svc.movers.base import Mover
from transfer_svc.movers.registry import make_movers
from transfer_svc.sending.engine import Engine
from transfer_svc.sending.means import Means, SendingChannels, SendingMetrics
from transfer_svc.sending.planner import Planner
from transfer_svc.sending.relays import Relays
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.values import Destination

if TYPE_CHECKING:
    from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceAsyncStub


@asynccontextmanager
async def sending(
    runtime: Runtime, context: Context, keys: SiteKeys, owner: str, given: Mapping[str, Mover] | None = None
) -> AsyncIterator[None]:
    """Plans and sends inside. `given`: movers to use; None: all that there are."""
    settings = runtime.settings
    channels = SendingChannels.of_schema(settings.transfer.schema)
    means = Means(
        context,
        channels,
        owner,
        timedelta(seconds=settings.worker.lease_seconds),
        min(settings.worker.poll_seconds, 5.0),
        random.Random().random,  # noqa: S311 - spreads retries
        SendingMetrics(runtime.metrics),
        runtime.tracing,
    )
    roster = Roster(keys)
    async with AsyncExitStack() as stack:
        signer = Signer.load(Path(settings.auth.keys_dir), runtime.name, clock=runtime.clock)
        services = await stack.enter_async_context(ServiceChannels(settings, signer))
        peers = await stack.enter_async_context(
            PeerLinks(site=keys.site, key=keys.key, former=keys.former, clock=runtime.clock)
        )

        def link_of(name: str) -> PeerLink:
            peer = roster.peer(name)
            return peers.to(PeerAddress(peer.name, peer.address, peer.insecure))

        def stub_of(to: Destination) -> FederationServiceAsyncStub:
            return link_of(to.name).federation if to.is_peer else services.federation

        movers = (
            given
            if given is not None
            else await stack.enter_async_context(
                make_movers(context.stores, link_of, runtime.clock, runtime.logger)
            )
        )
        engine: Engine | None = None

        def hear(payload: str) -> None:
            if engine is not None:
                engine.hear(payload)

        bell = await stack.enter_async_context(
            listening(
                settings.transfer.dsn,
                channels.queue,
                application_name="librarian-queue-ear",
                hear=hear,
            )
        )
        engine = Engine(means, roster, movers, stub_of, bell=bell, stopping=runtime.stopping)
        stack.push_async_callback(engine.close)
        planner = Planner(means, bell=bell, stopping=runtime.stopping)
        relays = Relays(means, roster, engine, stopping=runtime.stopping)
        runtime.spawn("transfers", engine.run())
        runtime.spawn("transfer leases", engine.keep_leases())
        runtime.spawn("planner", planner.run(), ends_itself=True)
        runtime.spawn("relayed receipts", relays.run())
        yield
