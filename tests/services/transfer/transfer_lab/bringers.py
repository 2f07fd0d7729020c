"""A site that brings datasets: its key, its offers, and its calls as the gateway would pass them on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uuid_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.eventually import eventually

from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceStub
from librarian.api.transfer.v1 import transfer_pb2
from librarian.messages import checksum_to_proto
from svckit.auth import Caller, Role, Signer
from svckit.channels import CallingChannel, ServiceChannels, call_metadata
from svckit.keys import key_id, load_private_key
from svckit.statements import KeyRing, make_origin, verify_receipt
from transfer_lab.rig import Rig
from transfer_lab.site import Site
from transfer_lab.store import Content

if TYPE_CHECKING:
    from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceAsyncStub

FINAL = {
    pb.DELIVERY_STATE_RECEIPTED,
    pb.DELIVERY_STATE_REFUSED,
    pb.DELIVERY_STATE_FAILED,
    pb.DELIVERY_STATE_EXPIRED,
}


def new_uid() -> str:
    return str(uuid_utils.uuid7())


@dataclass
class Elsewhere:
    """Another site."""

    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def known(self, **fields: Any) -> transfer_pb2.KnownPeer:
        """As the gateway tells of it."""
        public = self.key.public_key()
        key = transfer_pb2.KnownKey(key_id=key_id(public), public_key=public.public_bytes_raw())
        return transfer_pb2.KnownPeer(name=self.name, peer_id=f"id-{self.name}", keys=[key], **fields)

    def item(self, name: str, content: Content, /, *, uid: str = "", **lies: Any) -> pb.OfferItem:
        """A dataset born here; `lies`: what the origin says instead."""
        facts: dict[str, Any] = {
            "uid": uid or new_uid(),
            "name": name,
            "kind": (common_pb2.DATASET_KIND_DIRECTORY if content.members else common_pb2.DATASET_KIND_FILE),
            "digest": checksum_to_proto(content.digest),
            "size_bytes": content.size_bytes,
            "member_count": content.member_count,
        }
        birth = {"site": self.name, "uploader": "emma", "create_time_us": 1_600_000_000_000_000}
        origin = common_pb2.Origin(**{**facts, **birth, **lies})
        return pb.OfferItem(**facts, tags={"from": self.name}, origin=make_origin(origin, self.key))


class Bringer:
    """Calls FederationService as `caller`. `rig` and what needs it: not of a real site."""

    def __init__(self, place: Rig | Site, stub: FederationServiceAsyncStub) -> None:
        self.place = place
        self.stub = stub

    @property
    def rig(self) -> Rig:
        assert isinstance(self.place, Rig)
        return self.place

    async def offer(
        self, *items: pb.OfferItem, batch_id: str = "", **fields: Any
    ) -> tuple[str, pb.OfferResponse]:
        batch_id = batch_id or new_uid()
        return batch_id, await self.stub.Offer(pb.OfferRequest(batch_id=batch_id, items=items, **fields))

    async def deliver(self, batch_id: str, *uids: str) -> Sequence[pb.Delivery]:
        return (await self.stub.Deliver(pb.DeliverRequest(batch_id=batch_id, uids=uids))).deliveries

    async def batch(self, batch_id: str, *uids: str, timeout_ms: int = 0) -> dict[str, pb.Delivery]:
        request = pb.GetBatchRequest(batch_id=batch_id, uids=uids, timeout_ms=timeout_ms)
        return {each.uid: each for each in (await self.stub.GetBatch(request)).deliveries}

    async def ended(self, batch_id: str, *uids: str, seconds: float = 60.0) -> dict[str, pb.Delivery]:
        """Once all of these (or of the batch) have."""
        done: dict[str, pb.Delivery] = {}

        async def look() -> bool:
            left = [uid for uid in uids if uid not in done]
            found = await self.batch(batch_id, *left, timeout_ms=2000)
            done.update({uid: each for uid, each in found.items() if each.state in FINAL})
            return len(done) == len(set(uids) or found)

        await eventually(look, timeout=seconds, what="deliveries have ended")
        return done

    async def bring(self, item: pb.OfferItem, content: Content) -> pb.Delivery:
        """The whole way of one dataset."""
        batch_id, response = await self.offer(item)
        assert response.verdicts[0].HasField("send"), response.verdicts
        self.rig.stores.bring(response.verdicts[0].send.upload_id, content)
        await self.deliver(batch_id, item.uid)
        return (await self.ended(batch_id, item.uid))[item.uid]

    def receipt(self, signed: common_pb2.Signed) -> common_pb2.Receipt:
        """Of the lab; only if its signature is good."""
        key = load_private_key(self.place.directory / "site.key").public_key()
        return verify_receipt(signed, KeyRing([("lab", key)]))


def as_peer(name: str) -> Caller:
    return Caller(name, Role.PEER, token_id=f"id-{name}")


@asynccontextmanager
async def bringing(
    place: Rig | Site, caller: Caller | None, *, issuer: str = "gateway"
) -> AsyncIterator[Bringer]:
    """`caller` None: the issuer in its own name."""
    signer = Signer.load(place.directory, issuer)
    async with ServiceChannels(place.settings, signer) as channels:
        channel = channels.channel(place.settings.services.transfer)

        def metadata() -> Any:
            return call_metadata(signer.mint(caller, "transfer") if caller else signer.mint_own("transfer"))

        stub: Any = FederationServiceStub(CallingChannel(channel, metadata))  # type: ignore[arg-type]
        yield Bringer(place, stub)


async def tell_peers(place: Rig | Site, *sites: Elsewhere, revision: int = 1) -> None:
    """As the gateway does."""
    async with ServiceChannels(place.settings, Signer.load(place.directory, "gateway")) as channels:
        await channels.transfer.PutPeers(
            transfer_pb2.PutPeersRequest(revision=revision, peers=[site.known() for site in sites])
        )
