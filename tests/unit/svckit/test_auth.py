"""Service tokens: what is believed, and what is not."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.errors import NameOutsidePrefix, TokenExpired, TokenInvalid, TokenMissing
from svckit.auth import Caller, Role, Signer, Verifier, current_caller, service_caller, set_caller
from svckit.clock import ManualClock
from svckit.keys import ensure_keys

KEYS = {name: Ed25519PrivateKey.generate() for name in ("gateway", "transfer", "worker")}
BOB = Caller("bob", Role.INGESTER, "satp3/**", "t-1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def verifier(clock: ManualClock) -> Verifier:
    return Verifier("catalog", {name: key.public_key() for name, key in KEYS.items()}, clock=clock)


def signer(issuer: str, clock: ManualClock) -> Signer:
    return Signer(issuer, KEYS[issuer], clock=clock)


def forged(clock: ManualClock, *, key: Any = KEYS["gateway"], **claims: object) -> str:
    now = int(clock.now().timestamp())
    whole: dict[str, Any] = {
        "iss": "gateway",
        "aud": "catalog",
        "sub": "bob",
        "role": "reader",
        "prefix": "",
        "tid": "",
        "iat": now,
        "exp": now + 60,
        **claims,
    }
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, key, algorithm="EdDSA")


def test_the_gateway_speaks_for_clients(clock: ManualClock, verifier: Verifier) -> None:
    assert verifier.verify(signer("gateway", clock).mint(BOB, "catalog")) == BOB


@pytest.mark.parametrize("issuer", sorted(KEYS))
def test_each_issuer_speaks_for_itself(issuer: str, clock: ManualClock, verifier: Verifier) -> None:
    token = signer(issuer, clock).mint_own("catalog")
    assert verifier.verify(token) == service_caller(issuer)


def test_a_token_for_another_service_is_refused(clock: ManualClock, verifier: Verifier) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(signer("gateway", clock).mint(BOB, "store"))


@pytest.mark.parametrize("role", [Role.READER, Role.INGESTER, Role.OPERATOR, Role.ADMIN])
@pytest.mark.parametrize("issuer", ["transfer", "worker"])
def test_only_the_gateway_speaks_for_clients(
    issuer: str, role: Role, clock: ManualClock, verifier: Verifier
) -> None:
    with pytest.raises(TokenInvalid, match="only the gateway may"):
        verifier.verify(signer(issuer, clock).mint(Caller("bob", role), "catalog"))


def test_a_service_does_not_speak_for_another(clock: ManualClock, verifier: Verifier) -> None:
    with pytest.raises(TokenInvalid, match="in the name of the service worker"):
        verifier.verify(signer("transfer", clock).mint(service_caller("worker"), "catalog"))
    with pytest.raises(TokenInvalid):
        verifier.verify(signer("gateway", clock).mint(Caller("bob", Role.SERVICE), "catalog"))


def test_expiry(clock: ManualClock, verifier: Verifier) -> None:
    token = Signer("gateway", KEYS["gateway"], clock=clock, lifetime=timedelta(seconds=60)).mint(
        BOB, "catalog"
    )
    clock.advance(59)
    verifier.verify(token)
    clock.advance(10)
    with pytest.raises(TokenExpired):  # though it was verified before
        verifier.verify(token)
    with pytest.raises(TokenExpired):
        Verifier("catalog", {"gateway": KEYS["gateway"].public_key()}, clock=clock).verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "stranger"},
        {"iss": None},
        {"aud": None},
        {"aud": ["store", "transfer"]},
        {"sub": None},
        {"role": None},
        {"role": "keeper"},
        {"prefix": None},
        {"tid": None},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
        {"prefix": 3},
        {"tid": ["x"]},
    ],
)
def test_odd_claims_are_refused(claims: Mapping[str, object], clock: ManualClock, verifier: Verifier) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(forged(clock, **claims))


def test_a_token_from_the_future_is_refused(clock: ManualClock, verifier: Verifier) -> None:
    later = int(clock.now().timestamp()) + 3600
    with pytest.raises(TokenInvalid, match="future"):
        verifier.verify(forged(clock, iat=later, exp=later + 60))


def test_a_token_by_another_key_is_refused(clock: ManualClock, verifier: Verifier) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(forged(clock, key=Ed25519PrivateKey.generate()))
    with pytest.raises(TokenInvalid):  # a real key, in another's name
        verifier.verify(forged(clock, key=KEYS["worker"]))


def test_changed_and_unsigned_tokens_are_refused(clock: ManualClock, verifier: Verifier) -> None:
    head, body, signature = signer("gateway", clock).mint(BOB, "catalog").split(".")
    claims = json.loads(urlsafe_b64decode(body + "=="))
    claims["role"] = "admin"
    better = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    unsigned = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for token in (f"{head}.{better}.{signature}", f"{unsigned}.{better}.", f"{head}.{body}.", "", "a.b.c"):
        with pytest.raises(TokenInvalid):
            verifier.verify(token)


def test_one_token_serves_many_calls_until_half_is_used_up(clock: ManualClock) -> None:
    maker = Signer("gateway", KEYS["gateway"], clock=clock, lifetime=timedelta(seconds=60))
    first = maker.mint(BOB, "catalog")
    assert maker.mint(BOB, "store") != first
    clock.advance(29)
    assert maker.mint(BOB, "catalog") == first
    clock.advance(2)
    assert maker.mint(BOB, "catalog") != first


def test_keys_of_a_directory(tmp_path: Path, clock: ManualClock) -> None:
    ensure_keys(tmp_path, ("gateway",))
    token = Signer.load(tmp_path, "gateway", clock=clock).mint(BOB, "catalog")
    assert Verifier.load(tmp_path, "catalog", clock=clock).verify(token) == BOB


@pytest.mark.parametrize(
    ("prefix", "name", "seen"),
    [
        ("", "anything/at/all", True),
        ("**", "anything/at/all", True),
        ("satp3/**", "satp3/obs/1", True),
        ("satp3/**", "satp3", False),
        ("satp3/**", "satp30/obs", False),
        ("satp3/**", "other/satp3/x", False),
        ("satp*/obs/**", "satp3/obs/1", True),
        ("satp*/obs/**", "satp3/hk/1", False),
        ("satp3/obs/*", "satp3/obs/1", True),
        ("satp3/obs/*", "satp3/obs/1/2", False),
        ("satp3/a/**", "satp3/b/1", False),
    ],
)
def test_name_prefixes(prefix: str, name: str, *, seen: bool) -> None:
    caller = Caller("bob", Role.READER, prefix)
    assert caller.may_see(name) is seen
    if seen:
        caller.check_name(name)
    else:
        with pytest.raises(NameOutsidePrefix) as caught:
            caller.check_name(name)
        assert caught.value.metadata["name"] == name


async def test_the_caller_belongs_to_the_task() -> None:
    with pytest.raises(TokenMissing):
        current_caller()
    set_caller(BOB)
    assert current_caller() == BOB
