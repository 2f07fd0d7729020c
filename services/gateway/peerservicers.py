"""PeerService for this site's people, PairingService for other sites: messages to values and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from gateway.checkins import CheckIns
from gateway.joining import Joining
from gateway.pairing import Pairing
from gateway.peerdesk import PeerDesk
from gateway.peermessages import peer_to_proto
from gateway.peers import paused_here
from gateway.watch import CallWatch, no_peer_any_more
from librarian.api.federation.v1 import federation_pb2 as federation
from librarian.api.federation.v1.federation_pb2_grpc import PairingServiceServicer
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.gateway.v1.gateway_pb2_grpc import PeerServiceServicer
from svckit.auth import current_caller
from svckit.notifications import Bell

Context = grpc.aio.ServicerContext[Any, Any]


class PeerServicer(PeerServiceServicer):
    """`bell` wakes those who tell the services and call the peers; `tell` does the former at once."""

    def __init__(
        self,
        site: str,
        desk: PeerDesk,
        joining: Joining,
        watch: CallWatch,
        bell: Bell,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        self._site = site
        self._desk = desk
        self._joining = joining
        self._watch = watch
        self._bell = bell
        self._tell = tell

    async def InvitePeer(self, request: pb.InvitePeerRequest, context: Context) -> pb.InvitePeerResponse:  # noqa: ARG002, N802
        return await self._desk.invite(request, current_caller())

    async def JoinPeer(self, request: pb.JoinPeerRequest, context: Context) -> pb.JoinPeerResponse:  # noqa: ARG002, N802
        response = await self._joining.join(request, current_caller())
        await self._changed()
        return response

    async def ListPeers(self, request: pb.ListPeersRequest, context: Context) -> pb.ListPeersResponse:  # noqa: ARG002, N802
        found = await self._desk.peers(with_removed=request.with_removed)
        return pb.ListPeersResponse(peers=map(peer_to_proto, found))

    async def UpdatePeer(self, request: pb.UpdatePeerRequest, context: Context) -> pb.UpdatePeerResponse:  # noqa: ARG002, N802
        response, ended = await self._desk.update(request, current_caller())
        if ended:
            self._watch.end(ended, paused_here(response.peer.name, self._site))
        await self._changed()
        return response

    async def RemovePeer(self, request: pb.RemovePeerRequest, context: Context) -> pb.RemovePeerResponse:  # noqa: ARG002, N802
        response = await self._desk.remove(request, current_caller())
        self._watch.end(response.peer.peer_id, no_peer_any_more(self._site))
        await self._changed()
        return response

    async def _changed(self) -> None:
        self._bell.ring()
        await self._tell()


class PairingServicer(PairingServiceServicer):
    def __init__(self, pairing: Pairing, check_ins: CheckIns, bell: Bell) -> None:
        self._pairing = pairing
        self._check_ins = check_ins
        self._bell = bell

    async def Hello(self, request: federation.HelloRequest, context: Context) -> federation.HelloResponse:  # noqa: ARG002, N802
        return self._pairing.hello()

    async def Join(self, request: federation.JoinRequest, context: Context) -> federation.JoinResponse:  # noqa: ARG002, N802
        response = await self._pairing.join(request)
        self._bell.ring()
        return response

    async def CheckIn(  # noqa: N802
        self,
        request: federation.CheckInRequest,
        context: Context,  # noqa: ARG002
    ) -> federation.CheckInResponse:
        caller = current_caller()
        response = await self._pairing.check_in(request, caller)
        self._check_ins.heard(caller.subject)
        return response
