"""Who is at the door: a client with a token of this site, or another site with a token of its own."""

from __future__ import annotations

from gateway.authentication import Authentication, bearer_in
from gateway.peerauth import PeerAuthentication
from svckit.auth import Caller
from svckit.guard import CallMetadata

# A JWT has three parts; a client's secret has no dot.
_DOTS = 2


class Doorkeeper:
    """An authenticator for the gateway's door."""

    def __init__(self, clients: Authentication, peers: PeerAuthentication) -> None:
        self._clients = clients
        self._peers = peers

    async def __call__(self, metadata: CallMetadata, method: str) -> Caller:
        """Raises what Authentication and PeerAuthentication do."""
        bearer = bearer_in(metadata)
        if bearer.count(".") == _DOTS:
            return await self._peers(bearer, method)
        return await self._clients(metadata, method)
