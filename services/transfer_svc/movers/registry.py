"""All movers there are, by the names that routes give them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from svckit.clock import Clock
from svckit.telemetry import Logger
from transfer_svc.movers.base import Mover
from transfer_svc.movers.pacing import Paces
from transfer_svc.movers.posix import PosixMover
from transfer_svc.movers.rsync import RsyncMover
from transfer_svc.movers.stream import LinkOf, StreamMover
from transfer_svc.movers.tasks import Hands
from transfer_svc.stores import Stores

# Of this process, for all movers: each holds up to a few MiB.
_THREADS = 8


@asynccontextmanager
async def make_movers(
    stores: Stores, link_of: LinkOf, clock: Clock, logger: Logger
) -> AsyncIterator[Mapping[str, Mover]]:
    """`link_of`: the link to a peer by its name, as PeerLinks has it; raises LibrarianError. Whatever is
    under way is stopped at the end.
    """
    hands = Hands(_THREADS)
    paces = Paces(clock.monotonic)
    movers: Sequence[Mover] = (
        PosixMover(stores, hands, paces, logger),
        RsyncMover(stores, hands, paces, logger),
        StreamMover(stores, link_of, hands, paces, logger),
    )
    try:
        yield {mover.capabilities.name: mover for mover in movers}
    finally:
        for mover in movers:
            await mover.close()
        hands.close()
