"""Codes that one site gives another, and what redeems them. Pure.

A code is an Invitation in base64url. Its secret comes of the gateway's key and a salt in the database:
neither alone tells it, and the same request makes the same code again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from librarian.api.federation.v1.federation_pb2 import Invitation, JoinRequest, JoinStatement
from librarian.errors import InvalidInput, InviteInvalid, SignatureInvalid
from svckit.keys import key_id
from svckit.signing import verify
from svckit.statements import public_key_of

JOIN_TYPE = "librarian.join"
CODE_PREFIX = "inv_"
SALT_BYTES = 32
DEFAULT_LIFETIME = timedelta(days=1)
MAX_LIFETIME = timedelta(days=30)
# A code that was used answers the same site so long: it may have lost the first answer.
REPLAY_KEPT = timedelta(days=7)
_MAX_CODE = 4096
_NO_CODE = "what was given is no code of an invitation"
_WHOLE = "copy the whole code: it begins with inv_ and is one long word"


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation as its inviter keeps it. `used_by`: the key that redeemed it; "" for none yet."""

    invite_id: str
    name: str
    salt: bytes
    expire_time: datetime
    used_by: str = ""

    def check(self, joining: JoinStatement, now: datetime) -> None:
        """Raises InviteInvalid: expired, for another site, or used by another key."""
        if joining.key.site != self.name:
            raise InviteInvalid(f"the code invites {self.name}, not {joining.key.site[:80]!r}")
        if self.used_by:
            if self.used_by != joining.key.key_id:
                raise InviteInvalid(f"the code was used, by {self.name} with another key")
        elif now >= self.expire_time:
            raise InviteInvalid(f"the code expired at {self.expire_time:%Y-%m-%dT%H:%M:%SZ}")


def expiry(now: datetime, lifetime_seconds: int) -> datetime:
    """0: a day. Raises InvalidInput."""
    longest = MAX_LIFETIME // timedelta(seconds=1)
    if not 0 <= lifetime_seconds <= longest:
        raise InvalidInput(
            f"lifetime_seconds is {lifetime_seconds}",
            remedy=f"use 1 to {longest}, or 0 for a day",
            field="lifetime_seconds",
        )
    return now + (timedelta(seconds=lifetime_seconds) if lifetime_seconds else DEFAULT_LIFETIME)


def secret_of(key: bytes, invite_id: str, salt: bytes) -> bytes:
    return hmac.digest(key, b"librarian invitation\0" + invite_id.encode() + b"\0" + salt, "sha256")


def code_of(invitation: Invitation) -> str:
    return CODE_PREFIX + base64.urlsafe_b64encode(invitation.SerializeToString()).decode().rstrip("=")


def read_code(code: str, *, own_site: str) -> Invitation:
    """Raises InviteInvalid: garbled, or not for this site. When it expires is the inviter's to judge: our
    clocks may differ.
    """
    code = "".join(code.split())
    try:
        if not code.startswith(CODE_PREFIX) or len(code) > _MAX_CODE:
            raise InviteInvalid(_NO_CODE, remedy=_WHOLE)
        text = code.removeprefix(CODE_PREFIX)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        invitation = Invitation.FromString(raw)
        public_key_of(invitation.public_key)
    except (binascii.Error, ValueError, DecodeError, SignatureInvalid) as error:
        raise InviteInvalid(_NO_CODE, remedy=_WHOLE) from error
    if invitation.expected_site != own_site:
        raise InviteInvalid(
            f"the code invites {invitation.expected_site!r}, and this site is called {own_site}",
            remedy=f"have {invitation.site} invite it: librarian peer invite {own_site}",
        )
    if invitation.site == own_site:
        raise InviteInvalid(f"the code is of a site called {own_site}, as this one is")
    return invitation


def mac_of(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, payload, "sha256")


def joining_of(request: JoinRequest, *, own_site: str) -> JoinStatement:
    """The joining site's word, signed by the key in it. Raises InviteInvalid, SignatureInvalid."""
    try:
        joining = JoinStatement.FromString(request.statement.payload)
    except DecodeError as error:
        raise InviteInvalid("the statement of the joining site cannot be read") from error
    key = public_key_of(joining.key.public_key)
    if joining.key.key_id != key_id(key):
        raise SignatureInvalid("the joining site names its key by another key's id")
    verify(request.statement, key, expected_type=JOIN_TYPE)
    if joining.audience != own_site:
        raise InviteInvalid(f"the other site joins {joining.audience[:80]!r}, and this is {own_site}")
    return joining


def check_mac(request: JoinRequest, secret: bytes) -> None:
    """Raises InviteInvalid, in the words that an unknown invitation gets."""
    if not hmac.compare_digest(mac_of(secret, request.statement.payload), request.mac):
        raise unknown_invitation()


def unknown_invitation() -> InviteInvalid:
    return InviteInvalid("this site made no such invitation")
