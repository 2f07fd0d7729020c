"""Gateways of several sites that know one another, each with a schema of its own in one database."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.gateway.v1.gateway_pb2_grpc import PeerServiceStub
from librarian.api.store.v1.store_pb2 import RevokeTicketsRequest
from librarian.api.transfer.v1.transfer_pb2 import PutPeersRequest
from support.eventually import eventually
from support.gateway_site import STORE, TRANSFER, Context, GatewaySite, bearer, gateway_site
from svckit.clock import SystemClock
from svckit.peerlink import PeerAddress, PeerLink, PeerLinks
from svckit.sitekeys import SiteKeys

FEDERATION = "/librarian.api.federation.v1.FederationService/"
CHECK_IN_SECONDS = 1.0


class ShiftedClock(SystemClock):
    """The system's, and so much later. The monotonic clock goes on as it does."""

    def __init__(self, shift: timedelta = timedelta(0)) -> None:
        super().__init__()
        self.shift = shift

    def now(self) -> datetime:
        return super().now() + self.shift


@dataclass
class PairedSite:
    """`told`: what transfer_svc was told of peers; `revoked`: whose tickets the store was told to refuse."""

    name: str
    site: GatewaySite
    clock: ShiftedClock
    told: list[PutPeersRequest] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def put_peers(request: bytes, _context: Context) -> bytes:
            self.told.append(PutPeersRequest.FromString(request))
            return b""

        async def revoke(request: bytes, _context: Context) -> bytes:
            self.revoked += RevokeTicketsRequest.FromString(request).token_ids
            return b""

        self.site.transfer.on[TRANSFER + "PutPeers"] = put_peers
        for store in self.site.stores.values():
            store.on[STORE + "RevokeTickets"] = revoke

    @property
    def peers(self) -> Any:
        return PeerServiceStub(self.site.channel)

    @property
    def address(self) -> str:
        return self.site.runtime.address

    async def do(self, request: Message) -> Any:
        """A request of PeerService by the admin, under an id of its own."""
        name = type(request).__name__.removesuffix("Request")
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        return await getattr(self.peers, name)(request, metadata=bearer(self.site.admin))

    async def invite(self, name: str, **more: Any) -> str:
        return str((await self.do(pb.InvitePeerRequest(name=name, **more))).code)

    async def join(self, code: str, **more: Any) -> pb.Peer:
        peer: pb.Peer = (await self.do(pb.JoinPeerRequest(code=code, **more))).peer
        return peer

    async def update(self, name: str, **fields: Any) -> pb.Peer:
        request = pb.UpdatePeerRequest(
            peer=pb.Peer(name=name, **fields), update_mask=FieldMask(paths=list(fields))
        )
        peer: pb.Peer = (await self.do(request)).peer
        return peer

    async def peer(self, name: str) -> pb.Peer:
        found: list[pb.Peer] = [one for one in await self.all_peers() if one.name == name]
        return found[0] if found else pb.Peer()

    async def all_peers(self, *, with_removed: bool = False) -> list[pb.Peer]:
        return list((await self.do(pb.ListPeersRequest(with_removed=with_removed))).peers)

    async def until_link(self, name: str, state: pb.LinkState.ValueType) -> pb.Peer:
        async def found() -> pb.Peer | None:
            peer = await self.peer(name)
            return peer if peer.link_state == state else None

        return await eventually(found, what=f"{name} {pb.LinkState.Name(state)} at {self.name}")

    def on_federation(self, method: str, behaviour: Callable[[bytes, Context], Awaitable[bytes]]) -> None:
        self.site.transfer.on[FEDERATION + method] = behaviour

    def keys(self) -> SiteKeys:
        return SiteKeys.load(self.name, str(self.site.folder / "keys" / "site.key"))

    @asynccontextmanager
    async def link_to(self, other: PairedSite) -> AsyncIterator[PeerLink]:
        """As this site's worker has it."""
        keys = self.keys()
        async with PeerLinks(site=self.name, key=keys.key, former=keys.former, clock=self.clock) as links:
            yield links.to(PeerAddress(other.name, f"grpc://{other.address}"))


@asynccontextmanager
async def paired_site(
    dsn: str, name: str, *, shift: timedelta = timedelta(0), reachable: bool = True, **more: Any
) -> AsyncIterator[PairedSite]:
    clock = ShiftedClock(shift)
    port = free_port()
    values: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "schema": f"gateway_{name}",
        "check_in_seconds": CHECK_IN_SECONDS,
        "public_address": f"grpc://127.0.0.1:{port}" if reachable else "",
        **more,
    }
    async with gateway_site(dsn, name=name, clock=clock, **values) as site:
        yield PairedSite(name, site, clock)


async def pair(sender: PairedSite, receiver: PairedSite) -> None:
    """As two operators do it."""
    await sender.join(await receiver.invite(sender.name))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
