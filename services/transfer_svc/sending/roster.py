"""Routes, peers and keys as this worker last read them; read again with every look for work."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from librarian.api.common.v1.common_pb2 import Signed
from librarian.errors import KeyNotIntroduced, PeerNotFound
from svckit.notifications import Bell
from svckit.sitekeys import SiteKeys
from svckit.statements import KeyRing, make_introduction, site_key
from transfer_svc.querykit import Bare
from transfer_svc.sending import link_queries, plan_queries
from transfer_svc.sending.values import Destination, Peer, Route


class Roster:
    """`changed` rings after each reading that found something new."""

    def __init__(self, keys: SiteKeys) -> None:
        self.site = keys.site
        self.changed = Bell()
        self.routes: Mapping[str, Route] = {}
        self.peers: Mapping[str, Peer] = {}
        self._introduced: list[tuple[str, str, bytes]] = []
        self._key = keys.key
        self._own = [key.public_key() for key in (keys.key, keys.former) if key is not None]

    async def read(self, connection: Bare) -> None:
        routes = {route.route_id: route for route in await plan_queries.routes_carried(connection)}
        peers = await link_queries.all_peers(connection)
        if (routes, peers) != (self.routes, self.peers):
            self.routes, self.peers = routes, peers
            self.changed.ring()

    async def read_introduced(self, connection: Bare) -> None:
        self._introduced = await link_queries.introduced(connection)

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
            return KeyRing((self.site, key) for key in self._own)
        return KeyRing((to.name, key) for key in _pinned(self.peer(to.name)).values())

    def all_keys(self) -> KeyRing:
        """With those of sites that peers have introduced."""
        ring = KeyRing((self.site, key) for key in self._own)
        for peer in self.peers.values():
            for key in _pinned(peer).values():
                ring.add(peer.name, key)
        for site, _, raw in self._introduced:
            ring.add(site, Ed25519PublicKey.from_public_bytes(raw))
        return ring

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
            found.append(make_introduction(site_key(site, key, now_us), self._key))
        return found


def _pinned(peer: Peer) -> dict[str, Ed25519PublicKey]:
    """By key id, as the gateway has checked them."""
    return {
        key_id: Ed25519PublicKey.from_public_bytes(base64.b64decode(text))
        for key_id, text in json.loads(peer.keys_json or "{}").items()
    }
