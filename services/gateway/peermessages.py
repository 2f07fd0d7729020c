"""Peers as the protos write them."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.peers import LinkState, Peer
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.transfer.v1.transfer_pb2 import KnownKey, KnownPeer
from librarian.messages import timestamp

_LINK_STATES = {
    LinkState.UP: pb.LINK_STATE_UP,
    LinkState.DOWN: pb.LINK_STATE_DOWN,
    LinkState.PAUSED: pb.LINK_STATE_PAUSED,
    LinkState.INBOUND: pb.LINK_STATE_INBOUND,
    LinkState.REMOVED: pb.LINK_STATE_REMOVED,
}
_NOT_CALLED = "it was not called yet"


def peer_to_proto(peer: Peer) -> pb.Peer:
    state, link = peer.link_state, peer.link
    called = state in {LinkState.UP, LinkState.DOWN}
    return pb.Peer(
        name=peer.name,
        peer_id=peer.peer_id,
        address=peer.address,
        insecure=peer.insecure,
        paused=peer.paused,
        keys=[
            pb.PeerKey(
                key_id=key.key_id,
                public_key=key.public_key.public_bytes_raw(),
                pin_time=timestamp(key.pin_time),
                expire_time=_time(key.expire_time),
            )
            for key in peer.keys.values()
        ],
        link_state=_LINK_STATES[state],
        link_reason=(_NOT_CALLED if link.up is None else link.reason) if state is LinkState.DOWN else "",
        link_since_time=_time(link.since) if called else None,
        last_heard_time=_time(link.heard),
        last_reached_time=_time(link.reached),
        clock_offset_ms=link.offset_ms,
        version=link.version,
        join_time=timestamp(peer.join_time),
        remove_time=_time(peer.remove_time),
    )


def known_peer(peer: Peer) -> KnownPeer:
    """For transfer_svc."""
    return KnownPeer(
        name=peer.name,
        peer_id=peer.peer_id,
        address=peer.address,
        insecure=peer.insecure,
        paused=peer.paused,
        removed=peer.remove_time is not None,
        keys=[
            KnownKey(key_id=key.key_id, public_key=key.public_key.public_bytes_raw())
            for key in peer.keys.values()
        ],
    )


def _time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else timestamp(moment)
