"""The tokens sites show one another: a JWT (EdDSA) for one session with one receiver.

`kid` the key, `iss` the caller's site, `aud` the receiver's, `nonce` the session that the receiver's Hello
opened, `iat` and `exp` by the receiver's clock. The caller's own clock is nowhere in it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from librarian.errors import PeerSessionEnded, PeerTokenInvalid
from svckit.auth import ALGORITHM
from svckit.keys import key_id

LIFETIME = timedelta(minutes=5)
LONGEST_LIFETIME = timedelta(minutes=10)
# The receiver's clock is known to the caller only as far as the way of Hello's answer took.
LEEWAY = timedelta(seconds=5)
_REQUIRED = ("iss", "aud", "nonce", "iat", "exp")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """What a token says of its bearer, of which nothing is proven yet."""

    issuer: str
    key_id: str


@dataclass(frozen=True, slots=True)
class PeerToken:
    """A token whose signature, audience and times are right. The nonce is the receiver's to judge."""

    issuer: str
    nonce: bytes
    expires: datetime


def mint_peer_token(
    key: Ed25519PrivateKey,
    *,
    issuer: str,
    audience: str,
    nonce: bytes,
    now: datetime,
    lifetime: timedelta = LIFETIME,
) -> str:
    """`now`: by the receiver's clock."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "nonce": base64.urlsafe_b64encode(nonce).decode(),
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id(key.public_key())})


def read_claim(token: str) -> PeerClaim:
    """Whose token it says it is, so that the key can be looked up. Raises PeerTokenInvalid."""
    try:
        header = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError as error:
        raise PeerTokenInvalid(f"what the call carries is no token of a site: {error}") from error
    kid = header.get("kid")
    if not isinstance(issuer, str) or not isinstance(kid, str):
        raise PeerTokenInvalid("the token names no site, or no key")
    return PeerClaim(issuer[:_SHOWN], kid[:_SHOWN])


def verify_peer_token(
    token: str, key: Ed25519PublicKey, *, issuer: str, audience: str, now: datetime
) -> PeerToken:
    """Raises PeerTokenInvalid: not signed by `key`, or for another site than `audience`; PeerSessionEnded:
    past its time, or before it, so that the caller has to ask what time it is.
    """
    try:
        # Times are judged below, by the clock this was given.
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=issuer,
            options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidAudienceError as error:
        raise PeerTokenInvalid(f"the token of {issuer} is for another site than {audience}") from error
    except jwt.InvalidTokenError as error:
        raise PeerTokenInvalid(f"the token of {issuer} is not valid here: {error}") from error
    issued, expires = _time(claims["iat"]), _time(claims["exp"])
    if not timedelta(0) < expires - issued <= LONGEST_LIFETIME:
        raise PeerTokenInvalid(f"the token of {issuer} is for longer than {LONGEST_LIFETIME}")
    if now >= expires + LEEWAY or now < issued - LEEWAY:
        raise PeerSessionEnded(f"the token of {issuer} is for another time than now")
    return PeerToken(issuer, _nonce(claims["nonce"]), expires + LEEWAY)


def _time(claim: Any) -> datetime:
    if isinstance(claim, bool) or not isinstance(claim, int):
        raise PeerTokenInvalid("a time in the token is not a number")
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PeerTokenInvalid("a time in the token is none") from error


def _nonce(claim: Any) -> bytes:
    try:
        return base64.b64decode(claim, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise PeerTokenInvalid("the nonce in the token is garbled") from error
