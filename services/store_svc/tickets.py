"""Tickets: short-lived proof that this store has let somebody write one batch or read one dataset.

    <base64url of the payload>.<base64url of HMAC-SHA256 over it>

They name the client's token: revoking that refuses them at once, also on streams under way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NoReturn

from librarian.errors import TicketInvalid, TokenRevoked

SECRET_BYTES: Final = 32
_KEY_ID: Final = 1


class Purpose(StrEnum):
    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Ticket:
    """`about`: the staging area of a WRITE, the dataset's uid of a READ; `store`: which copy to READ."""

    purpose: Purpose
    about: str
    token_id: str
    subject: str
    store: str = ""


class TicketOffice:
    """Issues and checks. The secrets are in the database: tickets outlive a restart."""

    def __init__(self, secrets: Mapping[int, bytes], revoked: Iterable[str], lifetime: timedelta) -> None:
        self._secrets = secrets
        self._revoked = set(revoked)
        self.lifetime = lifetime

    def issue(self, ticket: Ticket, now: datetime) -> tuple[str, datetime]:
        """The ticket as text, and when it expires."""
        expires = now + self.lifetime
        content = {
            "k": _KEY_ID,
            "p": ticket.purpose,
            "a": ticket.about,
            "t": ticket.token_id,
            "s": ticket.subject,
            "o": ticket.store,
            "x": expires.timestamp(),
        }
        payload = json.dumps(content, separators=(",", ":")).encode()
        return f"{_encode(payload)}.{_encode(self._mac(_KEY_ID, payload))}", expires

    def check(self, text: str, purpose: Purpose, now: datetime) -> Ticket:
        """Raises TicketInvalid, TokenRevoked."""
        content = self._content(text)
        if content["p"] != purpose:
            _refuse(f"the ticket is for something else than to {purpose}")
        if now.timestamp() >= content["x"]:
            _refuse("the ticket has expired")
        # Those issued before there was such a field have none.
        ticket = Ticket(purpose, content["a"], content["t"], content["s"], content.get("o", ""))
        self.check_revoked(ticket)
        return ticket

    def check_revoked(self, ticket: Ticket) -> None:
        """Cheap enough to ask for each chunk. Raises TokenRevoked."""
        if ticket.token_id in self._revoked:
            raise TokenRevoked(f"the token of {ticket.subject} was revoked")

    def revoke(self, token_ids: Iterable[str]) -> None:
        self._revoked.update(token_ids)

    def area_of(self, subject: str) -> str:
        """The staging area of one client: always the same, and nobody else can guess it."""
        return self._mac(_KEY_ID, b"area\0" + subject.encode())[:16].hex()

    def proof_of(self, area: str) -> bytes:
        """What the proof file of a staging area holds."""
        return self._mac(_KEY_ID, b"proof\0" + area.encode()).hex().encode()

    def _content(self, text: str) -> Any:
        payload_text, _, mac_text = text.partition(".")
        try:
            payload, mac = _decode(payload_text), _decode(mac_text)
            content = json.loads(payload)
            expected = self._mac(content["k"], payload)
        except (binascii.Error, ValueError, KeyError, TypeError):
            _refuse("the ticket is garbled")
        if not hmac.compare_digest(mac, expected):
            _refuse("the ticket was not issued by this store")
        return content

    def _mac(self, key_id: int, data: bytes) -> bytes:
        return hmac.digest(self._secrets[key_id], data, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refuse(trouble: str) -> NoReturn:
    raise TicketInvalid(trouble)
