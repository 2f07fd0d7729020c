"""Other sites: inviting them, joining them, and what this one knows of them."""

from __future__ import annotations

from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from librarian.api.gateway.v1 import gateway_pb2
from librarian.client.base import ClientBase

# Joining calls the other site.
JOIN_SECONDS = 60.0


class PeersClient(ClientBase):
    async def invite_peer(self, name: str, *, lifetime_seconds: int = 0) -> gateway_pb2.InvitePeerResponse:
        """A code that works once, in the answer and nowhere else. `name`: the other site's own name.
        `lifetime_seconds`: 0 for a day.
        """
        request = gateway_pb2.InvitePeerRequest(
            request_id=str(uuid4()), name=name, lifetime_seconds=lifetime_seconds
        )
        return await self._site.unary(self._site.peers.InvitePeer, request)

    async def join_peer(self, code: str, *, insecure: bool = False) -> gateway_pb2.Peer:
        """Redeems another site's code: both have pinned each other's key when it returns. `insecure`: also
        where that site is reached in the clear on another machine.
        """
        request = gateway_pb2.JoinPeerRequest(request_id=str(uuid4()), code=code, insecure=insecure)
        answer = await self._site.unary(self._site.peers.JoinPeer, request, timeout=JOIN_SECONDS)
        return answer.peer

    async def peers(self, *, with_removed: bool = False) -> list[gateway_pb2.Peer]:
        """By name."""
        request = gateway_pb2.ListPeersRequest(with_removed=with_removed)
        return list((await self._site.unary(self._site.peers.ListPeers, request)).peers)

    async def pause_peer(self, name: str, *, paused: bool = True) -> gateway_pb2.Peer:
        """Nothing goes either way, open calls included; or again."""
        return await self._update_peer(gateway_pb2.Peer(name=name, paused=paused), ["paused"])

    async def set_peer(
        self, name: str, *, address: str | None = None, insecure: bool | None = None
    ) -> gateway_pb2.Peer:
        """Where it is reached; an empty address: nowhere, it calls this site."""
        peer = gateway_pb2.Peer(name=name, address=address or "", insecure=insecure or False)
        given = {"address": address, "insecure": insecure}
        return await self._update_peer(peer, [field for field, value in given.items() if value is not None])

    async def remove_peer(self, name: str) -> gateway_pb2.Peer:
        """Its keys open nothing any more; what it has receipted stays known."""
        request = gateway_pb2.RemovePeerRequest(request_id=str(uuid4()), name=name)
        return (await self._site.unary(self._site.peers.RemovePeer, request)).peer

    async def _update_peer(self, peer: gateway_pb2.Peer, fields: list[str]) -> gateway_pb2.Peer:
        request = gateway_pb2.UpdatePeerRequest(
            request_id=str(uuid4()), peer=peer, update_mask=FieldMask(paths=fields)
        )
        return (await self._site.unary(self._site.peers.UpdatePeer, request)).peer
