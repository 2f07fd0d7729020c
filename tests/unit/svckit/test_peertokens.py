"""Tokens between sites: whose, for whom, for which session, and for how long."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.errors import PeerSessionEnded, PeerTokenInvalid
from svckit.clock import ManualClock
from svckit.keys import key_id
from svckit.peertokens import LIFETIME, mint_peer_token, read_claim, verify_peer_token

KEY = Ed25519PrivateKey.generate()
NOW = ManualClock().now()
NONCE = b"\x00\xff of a session"


def minted(**more: Any) -> str:
    return mint_peer_token(KEY, **{"issuer": "act", "audience": "nersc", "nonce": NONCE, "now": NOW, **more})


def check(token: str, *, audience: str = "nersc", issuer: str = "act", seconds: float = 0) -> Any:
    now = NOW + timedelta(seconds=seconds)
    return verify_peer_token(token, KEY.public_key(), issuer=issuer, audience=audience, now=now)


def forged(key: Any = KEY, algorithm: str = "EdDSA", **claims: Any) -> str:
    at = int(NOW.timestamp())
    content = {"iss": "act", "aud": "nersc", "nonce": "AAAA", "iat": at, "exp": at + 60, **claims}
    content = {name: value for name, value in content.items() if value is not None}
    # Not by jwt.encode, which makes no such claims.
    return jwt.PyJWS().encode(json.dumps(content).encode(), key, algorithm=algorithm, headers={"kid": "k"})


def test_a_token_tells_site_key_and_session() -> None:
    claim = read_claim(minted())
    assert (claim.issuer, claim.key_id) == ("act", key_id(KEY.public_key()))
    token = check(minted())
    assert (token.issuer, token.nonce) == ("act", NONCE)
    assert token.expires > NOW + LIFETIME


def test_a_token_is_for_one_site_of_one_site_by_one_key() -> None:
    with pytest.raises(PeerTokenInvalid, match="another site"):
        check(minted(audience="princeton"))
    with pytest.raises(PeerTokenInvalid):
        check(minted(issuer="princeton"))
    with pytest.raises(PeerTokenInvalid):
        check(forged(Ed25519PrivateKey.generate()))
    with pytest.raises(PeerTokenInvalid):
        check(forged("x" * 64, algorithm="HS256"))


@pytest.mark.parametrize("seconds", [-86400, -6, LIFETIME.total_seconds() + 6, 86400])
def test_out_of_its_time_the_caller_is_to_ask_what_time_it_is(seconds: float) -> None:
    with pytest.raises(PeerSessionEnded):
        check(minted(), seconds=seconds)


@pytest.mark.parametrize("seconds", [-4, 0, LIFETIME.total_seconds() + 4])
def test_within_its_time_and_a_little_more_it_is_good(seconds: float) -> None:
    assert check(minted(), seconds=seconds)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": ["princeton"]},
        {"nonce": None},
        {"nonce": 3},
        {"nonce": "no base64 !"},
        {"iat": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**18},
        {"exp": int(NOW.timestamp()) + 601},
        {"exp": int(NOW.timestamp()) - 1},
    ],
)
def test_odd_claims_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(PeerTokenInvalid):
        check(forged(**claims))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "lib_abc", forged(iss=None), forged(iss=7)])
def test_what_is_no_token_of_a_site_is_called_so(text: str) -> None:
    with pytest.raises(PeerTokenInvalid):
        read_claim(text)


def test_what_a_stranger_writes_is_cut_before_it_is_shown() -> None:
    assert len(read_claim(forged(iss="x" * 5000)).issuer) == 80
