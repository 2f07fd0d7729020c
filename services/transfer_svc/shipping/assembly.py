"""The part of a worker that is at disks, put together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from svckit.notifications import listening
from svckit.server import Runtime
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Context
from transfer_svc.shipping.docks import Docks, Work
from transfer_svc.shipping.lifecycle import JobKind

WORKS: Mapping[JobKind, Work] = {}


@asynccontextmanager
async def shipping(runtime: Runtime, context: Context, keys: SiteKeys, owner: str) -> AsyncIterator[None]:
    """Jobs at the worker's docks are carried out until the end of this."""
    settings = runtime.settings
    if not settings.worker.docks:
        yield
        return
    async with listening(
        settings.transfer.dsn, context.channels.docks, application_name="librarian-docks-ear"
    ) as bell:
        docks = Docks(
            context,
            keys,
            WORKS,
            docks=settings.worker.docks,
            owner=owner,
            ttl=timedelta(seconds=settings.worker.lease_seconds),
            poll_seconds=settings.worker.poll_seconds,
            bell=bell,
            stopping=runtime.stopping,
            rand=random.Random().random,  # noqa: S311 - spreads retries
        )
        runtime.spawn("docks", docks.run())
        runtime.spawn("dock leases", docks.keep_leases())
        yield
        await docks.close()
