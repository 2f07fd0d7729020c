"""Tokens of other sites at the door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.peerauth import PeerAuthentication
from gateway.peerbook import PeerBook, Peers
from gateway.peers import Peer, PeerKey
from gateway.sessions import RANDOM_BYTES, make_nonce
from librarian.errors import PeerSessionEnded
from svckit.clock import ManualClock
from svckit.keys import key_id
from svckit.peertokens import LIFETIME, mint_peer_token
from svckit.telemetry import get_logger

SESSION_KEY = b"k" * 32
KEY = Ed25519PrivateKey.generate()


class OnePeer:
    """A book of one peer. `meanwhile` happens while it is read."""

    def __init__(self, peer: Peer) -> None:
        self._peers = Peers({peer.name: peer}, {peer.peer_id: peer})
        self.meanwhile: Callable[[], object] = lambda: None

    async def peers(self) -> Peers:
        self.meanwhile()
        return self._peers

    def forget(self) -> None: ...


async def test_a_token_that_ends_as_it_is_forgotten() -> None:
    clock = ManualClock()
    now = clock.now()
    kid = key_id(KEY.public_key())
    keys = {kid: PeerKey(kid, KEY.public_key(), now, None)}
    peer = Peer("r1", "p1", "act", "", False, "", False, now, keys=keys)
    book = OnePeer(peer)
    door = PeerAuthentication(
        "here", cast(PeerBook, book), clock, get_logger("gateway"), session_key=SESSION_KEY
    )
    nonce = make_nonce(SESSION_KEY, b"r" * RANDOM_BYTES, now)
    token = mint_peer_token(KEY, issuer="act", audience="here", nonce=nonce, now=now)
    assert (await door(token, "Offer")).subject == "act"
    clock.advance((LIFETIME + timedelta(minutes=1)).total_seconds())
    book.meanwhile = door.forget
    with pytest.raises(PeerSessionEnded, match="past its time"):
        await door(token, "Offer")
