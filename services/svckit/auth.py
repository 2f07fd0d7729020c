"""Who is calling: roles, callers, and the short-lived signed tokens services show one another.

A service token is a JWT (EdDSA): `iss` the process that made it, `aud` the service it is for, `sub`,
`role`, `prefix` and `tid` the caller, `exp` soon. Reaching a socket is not enough: every service
verifies it itself. Only the gateway speaks for clients; the other issuers speak for themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from librarian.errors import NameOutsidePrefix, TokenExpired, TokenInvalid, TokenMissing
from svckit.clock import Clock, SystemClock
from svckit.keys import load_private_key, load_public_key

ALGORITHM = "EdDSA"
# Processes that call others; each signs with its own key.
GATEWAY = "gateway"
ISSUERS = (GATEWAY, "transfer", "worker")
LIFETIME = timedelta(seconds=120)
_LEEWAY = timedelta(seconds=5)
_CACHED = 4096


class Role(StrEnum):
    READER = "reader"
    INGESTER = "ingester"
    OPERATOR = "operator"
    ADMIN = "admin"
    SERVICE = "service"
    # Another site, named by the caller's subject.
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Caller:
    """`name_prefix`: a glob such as "satp3/**" that every name must match; "" for all."""

    subject: str
    role: Role
    name_prefix: str = ""
    token_id: str = ""

    def may_see(self, name: str) -> bool:
        return not self.name_prefix or _matches(self.name_prefix, name)

    def check_name(self, name: str) -> None:
        """Raises NameOutsidePrefix."""
        if not self.may_see(name):
            raise NameOutsidePrefix(
                f"the token of {self.subject} is for {self.name_prefix}, and {name} lies outside",
                name=name,
                prefix=self.name_prefix,
            )


def _matches(pattern: str, name: str) -> bool:
    head = pattern.removesuffix("**")
    if head != pattern and not head.endswith("*") and not any(c in head for c in "*?["):
        return name.startswith(head)
    return _compiled(pattern)(name)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Callable[[str], bool]:
    from librarian.globs import compile_glob

    return compile_glob(pattern).matches


_current: ContextVar[Caller] = ContextVar("librarian_caller")


def current_caller() -> Caller:
    """The verified caller of the RPC being served. Raises TokenMissing outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise TokenMissing("no caller is known here") from None


def known_subject() -> str:
    """For logs: who is calling, "" where that is not known (yet)."""
    caller = _current.get(None)
    return caller.subject if caller is not None else ""


def set_caller(caller: Caller) -> None:
    """For the code that authenticates: everything this task does from now on is `caller`'s doing."""
    _current.set(caller)


def service_caller(name: str) -> Caller:
    """A service calling in its own name."""
    return Caller(subject=name, role=Role.SERVICE)


class Signer:
    """Makes tokens in the name of `issuer`. One token serves many calls, until half of it is used up."""

    def __init__(
        self,
        issuer: str,
        key: Ed25519PrivateKey,
        *,
        clock: Clock | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self.issuer = issuer
        self._key = key
        self._clock = clock or SystemClock()
        self._lifetime = lifetime
        self._minted: OrderedDict[tuple[Caller, str], tuple[datetime, str]] = OrderedDict()

    @classmethod
    def load(cls, keys_dir: Path, issuer: str, *, clock: Clock | None = None) -> Signer:
        return cls(issuer, load_private_key(keys_dir / f"{issuer}.key"), clock=clock)

    def mint(self, caller: Caller, audience: str) -> str:
        """A token that tells `audience` that the bearer acts as `caller`."""
        now = self._clock.now()
        found = self._minted.get((caller, audience))
        if found is not None and now < found[0]:
            return found[1]
        token = jwt.encode(
            {
                "iss": self.issuer,
                "aud": audience,
                "sub": caller.subject,
                "role": caller.role.value,
                "prefix": caller.name_prefix,
                "tid": caller.token_id,
                "iat": int(now.timestamp()),
                "exp": int((now + self._lifetime).timestamp()),
            },
            self._key,
            algorithm=ALGORITHM,
        )
        self._minted.pop((caller, audience), None)
        self._minted[caller, audience] = (now + self._lifetime / 2, token)
        if len(self._minted) > _CACHED:
            self._minted.popitem(last=False)
        return token

    def mint_own(self, audience: str) -> str:
        """A token for a call in the issuer's own name, with role `service`."""
        return self.mint(service_caller(self.issuer), audience)


class Verifier:
    """Checks tokens made for `audience` by one of the `trusted` issuers.

    A verified token is remembered until it expires: EdDSA costs 0.2 ms, a look-up next to nothing.
    """

    def __init__(
        self, audience: str, trusted: Mapping[str, Ed25519PublicKey], *, clock: Clock | None = None
    ) -> None:
        self._audience = audience
        self._trusted = dict(trusted)
        self._clock = clock or SystemClock()
        self._verified: OrderedDict[str, tuple[datetime, Caller]] = OrderedDict()

    @classmethod
    def load(cls, keys_dir: Path, audience: str, *, clock: Clock | None = None) -> Verifier:
        """Trusts each issuer whose `<issuer>.pub` lies in `keys_dir`."""
        trusted = {
            issuer: load_public_key(path)
            for issuer in ISSUERS
            if (path := keys_dir / f"{issuer}.pub").exists()
        }
        return cls(audience, trusted, clock=clock)

    def verify(self, token: str) -> Caller:
        """Raises TokenInvalid or TokenExpired."""
        now = self._clock.now()
        found = self._verified.get(token)
        if found is not None:
            if now < found[0]:
                return found[1]
            del self._verified[token]
        expires, caller = self._decode(token, now)
        self._verified[token] = (expires, caller)
        if len(self._verified) > _CACHED:
            self._verified.popitem(last=False)
        return caller

    def _decode(self, token: str, now: datetime) -> tuple[datetime, Caller]:
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss", ""))
            key = self._trusted.get(issuer)
            if key is None:
                raise TokenInvalid(f"the service token is signed by {issuer!r}, who is not trusted here")
            # Times are judged below, by the clock this was given.
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=issuer,
                options={
                    "require": ["iss", "aud", "sub", "role", "prefix", "tid", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise TokenInvalid(f"the service token is not valid for {self._audience}: {error}") from error
        expires = _time(claims["exp"]) + _LEEWAY
        if now >= expires:
            raise TokenExpired(f"the service token expired at {expires - _LEEWAY:%Y-%m-%dT%H:%M:%SZ}")
        if _time(claims["iat"]) > now + _LEEWAY:
            raise TokenInvalid("the service token is from the future", remedy="set the clocks of the hosts")
        return expires, _caller(claims)


def _time(claim: Any) -> datetime:
    if not isinstance(claim, int):
        raise TokenInvalid("a time in the service token is not a number")
    return datetime.fromtimestamp(claim, UTC)


def _caller(claims: Mapping[str, Any]) -> Caller:
    issuer, role = claims["iss"], claims["role"]
    texts = [claims["sub"], role, claims["prefix"], claims["tid"]]
    if not all(isinstance(text, str) for text in texts):
        raise TokenInvalid("a claim in the service token is no text")
    try:
        caller = Caller(claims["sub"], Role(role), claims["prefix"], claims["tid"])
    except ValueError as error:
        raise TokenInvalid(f"the service token names an unknown role {role!r}") from error
    if caller.role is Role.SERVICE and caller.subject != issuer:
        raise TokenInvalid(f"{issuer} calls in the name of the service {caller.subject}")
    if caller.role is not Role.SERVICE and issuer != GATEWAY:
        raise TokenInvalid(f"{issuer} calls in the name of a client, which only the gateway may")
    return caller
