"""Routes, peers and keys as this worker last read them; read again with every look for work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from librarian.api.common.v1.common_pb2 import Signed
from librarian.errors import KeyNotIntroduced, PeerNotFound
from svckit.notifications import Bell
from svckit.sitekeys import SiteKeys
from svckit.statements import KeyRing, make_introduction, public_key_of, site_key
from transfer_svc.querykit import Bare
from transfer_svc.receiving.peer_queries import KeyRow, fetch_keys
from transfer_svc.receiving.peers import ring_of
from transfer_svc.sending import link_queries, plan_queries
from transfer_svc.sending.values import Destination, Peer, Route


class Roster:
    """`changed` rings after each reading that found something new."""

    def __init__(self, keys: SiteKeys) -> None:
        self.site = keys.site
        self.changed = Bell()
        self.routes: Mapping[str, Route] = {}
        self.peers: Mapping[str, Peer] = {}
        self._rows: list[KeyRow] = []
        self._keys = keys

    async def read(self, connection: Bare) -> None:
        routes = {route.route_id: route for route in await plan_queries.routes_carried(connection)}
        peers = await link_queries.all_peers(connection)
        self._rows = await fetch_keys(connection)
        if (routes, peers) != (self.routes, self.peers):
            self.routes, self.peers = routes, peers
            self.changed.ring()

    def reachable(self, to: Destination) -> bool:
        """Whether anything may be said to it now."""
        if not to.is_peer:
            return True
        peer = self.peers.get(to.name)
        return peer is not None and not (peer.paused or peer.removed or not peer.address)

    def may_send(self, route_id: str) -> bool:
        route = self.routes.get(route_id)
        return route is not None and not route.paused and self.reachable(route.to)

    def peer(self, name: str) -> Peer:
        found = self.peers.get(name)
        if found is None:
            raise PeerNotFound(f"no peer is called {name}", name=name)
        return found

    def keys_of(self, to: Destination) -> KeyRing:
        """What receipts of a destination are signed by: the pinned keys of the peer, or this site's own."""
        if not to.is_peer:
            return ring_of([], self._keys)
        pinned = [row for row in self._rows if row.pinned and row.site == to.name]
        return KeyRing((row.site, public_key_of(row.public_key)) for row in pinned)

    def all_keys(self) -> KeyRing:
        """With those of sites that peers have introduced."""
        return ring_of(self._rows, self._keys)

    def introductions(self, wanted: Iterable[tuple[str, str]], now_us: int) -> list[Signed]:
        """Its word on keys (site, key id) of others; those it does not know itself are left out."""
        ring, found = self.all_keys(), []
        for site, key_id in sorted(set(wanted)):
            if site == self.site:
                continue
            try:
                key = ring.key_of(site, key_id)
            except KeyNotIntroduced:
                continue
            found.append(make_introduction(site_key(site, key, now_us), self._keys.key))
        return found
