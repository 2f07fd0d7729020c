"""Who is at the door: client secrets looked up by their sha256, remembered for a moment.

A remembered token is read again after FRESH_SECONDS, so a revocation holds for new calls within that
time even where its notification is lost; calls in flight are watched by `gateway.watch`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.queries import token_by_digest
from gateway.tokens import SECRET_BYTES, Token, digest_of, same_digest
from librarian.errors import TokenInvalid, TokenMissing, Unavailable
from svckit.auth import Caller
from svckit.clock import Clock
from svckit.database import Database
from svckit.guard import CallMetadata

FRESH_SECONDS = 0.3
_REMEMBERED = 4096
_BEARER = "bearer "
_NOBODY = bytes(SECRET_BYTES)


@dataclass(frozen=True, slots=True)
class _Known:
    token: Token
    read_at: float


class Authentication:
    """An authenticator for clients."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def __call__(self, metadata: CallMetadata, _method: str) -> Caller:
        """Raises TokenMissing, TokenInvalid, TokenRevoked, TokenExpired, Unavailable."""
        digest = digest_of(bearer_in(metadata))
        known = self._known.get(digest)
        if known is None or self._clock.monotonic() - known.read_at > FRESH_SECONDS:
            known = await self._read(digest)
        known.token.check(self._clock.now())
        return known.token.caller

    def forget(self) -> None:
        """Every token is read again when it next comes."""
        self._known.clear()

    async def _read(self, digest: bytes) -> _Known:
        # Taken before the reading: what is written while it runs counts as not seen.
        read_at = self._clock.monotonic()
        try:
            async with self._database.hot() as connection:
                found = await token_by_digest(connection, digest)
        except Unavailable as error:
            raise Unavailable(
                "the token cannot be checked, for the gateway's database does not answer",
                remedy="try again in a moment; if it lasts, start PostgreSQL",
            ) from error
        # One comparison either way: how long the answer takes says nothing about what is there.
        token, stored = (None, _NOBODY) if found is None else found
        if not same_digest(stored, digest) or token is None:
            self._known.pop(digest, None)
            raise TokenInvalid("this site knows no such token")
        known = _Known(token, read_at)
        self._known[digest] = known
        self._known.move_to_end(digest)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def bearer_in(metadata: CallMetadata) -> str:
    """Raises TokenMissing, TokenInvalid."""
    value = metadata.get("authorization", "")
    if not value:
        raise TokenMissing("the call carries no token")
    if not isinstance(value, str) or value[: len(_BEARER)].lower() != _BEARER:
        raise TokenInvalid(
            "the call's authorization is no bearer token",
            remedy="send the metadata `authorization: Bearer lib_…`",
        )
    return value[len(_BEARER) :].strip()
