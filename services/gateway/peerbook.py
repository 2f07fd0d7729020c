"""The peers of this site in memory, read again after a moment: few rows, wanted at every call of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.peer_queries import live_peers
from gateway.peers import Peer
from svckit.clock import Clock
from svckit.database import Database

# As with tokens: what another gateway changed holds here within this time, notified or not.
FRESH_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Peers:
    """The live ones, by name and by the id of their calls."""

    by_name: Mapping[str, Peer] = field(default_factory=dict)
    by_id: Mapping[str, Peer] = field(default_factory=dict)


class PeerBook:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._peers = Peers()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def peers(self) -> Peers:
        """As they are, or were a moment ago. Those who ask together share one reading. Raises Unavailable."""
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    await self._read()
        return self._peers

    def forget(self) -> None:
        """They are read again when next asked for."""
        self._read_at = float("-inf")

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._read_at <= FRESH_SECONDS

    async def _read(self) -> None:
        # Taken before the reading: what is written while it runs counts as not seen.
        read_at = self._clock.monotonic()
        async with self._database.hot() as connection:
            found = await live_peers(connection)
        self._peers = Peers({peer.name: peer for peer in found}, {peer.peer_id: peer for peer in found})
        self._read_at = read_at
