"""Client tokens: what one looks like, who it makes of its bearer, and when it is good. Pure.

A secret is `lib_` and 256 random bits in base64url. It is told once; what stays is its sha256, which is
enough for so long a secret: there is nothing to guess, so nothing a slow hash would slow down.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from librarian.errors import InvalidGlob, InvalidInput, TokenExpired, TokenRevoked
from librarian.globs import compile_glob
from librarian.names import check_name
from svckit.auth import Caller, Role

SECRET_PREFIX = "lib_"  # noqa: S105 - what every secret begins with is none
SECRET_BYTES = 32
MAX_SUBJECT_CHARACTERS = 200
MAX_LIFETIME = timedelta(days=100 * 365)
# How long the answer of IssueToken can be had again under its request_id.
REPLAY_KEPT = timedelta(days=7)

CLIENT_ROLES = (Role.READER, Role.INGESTER, Role.OPERATOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Token:
    """All that is known of a token but its secret. `expire_time` None: never."""

    token_id: str
    subject: str
    role: Role
    name_prefix: str
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    caller: Caller = field(init=False, compare=False)

    def __post_init__(self) -> None:
        caller = Caller(self.subject, self.role, self.name_prefix, self.token_id)
        object.__setattr__(self, "caller", caller)

    def check(self, now: datetime) -> None:
        """Raises TokenRevoked or TokenExpired."""
        if self.revoke_time is not None:
            raise TokenRevoked(
                f"the token of {self.subject} was revoked at {_moment(self.revoke_time)}",
                token_id=self.token_id,
            )
        if self.expire_time is not None and self.expire_time <= now:
            raise TokenExpired(
                f"the token of {self.subject} expired at {_moment(self.expire_time)}",
                token_id=self.token_id,
            )


def secret_of(raw: bytes) -> str:
    """The secret made of 32 random bytes."""
    return SECRET_PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def digest_of(secret: str) -> bytes:
    """What is stored of a secret and looked up."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def same_digest(one: bytes, other: bytes) -> bool:
    """Whether they are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def derived_secret(key: bytes, token_id: str, salt: bytes) -> str:
    """The secret of a token, made again from a key that is in no database and a salt that is kept only
    as long as the request may be repeated.
    """
    return secret_of(hmac.digest(key, b"librarian token\0" + token_id.encode() + b"\0" + salt, "sha256"))


def check_subject(subject: str) -> str:
    """The subject as given. Raises InvalidInput."""
    if not subject.strip() or len(subject) > MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise InvalidInput(
            f"subject {subject[:MAX_SUBJECT_CHARACTERS]!r} is empty, too long or not printable",
            remedy=f"say whom the token is for in 1 to {MAX_SUBJECT_CHARACTERS} printable characters",
            field="subject",
        )
    return subject


def check_prefix(name_prefix: str, role: Role) -> str:
    """The prefix glob as given. Raises InvalidName, InvalidGlob, or InvalidInput for an admin's."""
    if not name_prefix:
        return name_prefix
    if role is Role.ADMIN:
        raise InvalidInput(
            f"an admin's token cannot be limited to {name_prefix}, for who issues tokens can issue any",
            remedy="leave the prefix out, or choose another role",
            field="name_prefix",
        )
    head = name_prefix.removesuffix("/**")
    if head == name_prefix or not compile_glob(head).is_literal:
        raise InvalidGlob(
            f"name prefix {name_prefix!r} is not a name and /**",
            remedy="use a prefix such as satp3/** or satp3/obs/**",
            field="name_prefix",
        )
    check_name(head)
    return name_prefix


def expiry(now: datetime, lifetime_seconds: int) -> datetime | None:
    """When a token made now ends; None for a lifetime of 0. Raises InvalidInput."""
    if not 0 <= lifetime_seconds <= MAX_LIFETIME.total_seconds():
        raise InvalidInput(
            f"lifetime_seconds is {lifetime_seconds}",
            remedy=f"use 1 to {MAX_LIFETIME // timedelta(seconds=1)}, or 0 for a token that never expires",
            field="lifetime_seconds",
        )
    return now + timedelta(seconds=lifetime_seconds) if lifetime_seconds else None


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
