"""The end of tokens and peers whose calls are still in flight: they are cut within a second.

NOTIFY is the hint, reading again every RECHECK_SECONDS while calls are open is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from gateway.opencalls import OpenCalls
from gateway.peerbook import PeerBook
from gateway.peers import paused_here
from gateway.queries import tokens_by_ids
from gateway.tokens import Token
from librarian.errors import LibrarianError, PeerUnknown, TokenInvalid, Unauthenticated, Unavailable
from svckit.clock import Clock
from svckit.database import Database
from svckit.notifications import Bell
from svckit.telemetry import Logger

RECHECK_SECONDS = 0.3
# While the database does not answer nobody can revoke through it either, unless only this gateway lost
# it. Streams that have moved gigabytes are not cut for a restart of PostgreSQL.
BLIND_SECONDS = 30.0
_LOOK_SECONDS = 5.0

# Of these callers, those whose calls may not go on, and why. Raises Unavailable.
Ends = Callable[[Sequence[str]], Awaitable[Mapping[str, LibrarianError]]]


def end_of(token: Token | None, now: datetime) -> LibrarianError | None:
    """Why calls of this token may not go on; None while they may."""
    if token is None:
        return TokenInvalid("this site knows no such token any more")
    try:
        token.check(now)
    except Unauthenticated as error:
        return error
    return None


def ends_of_tokens(database: Database, clock: Clock) -> Ends:
    async def ends(token_ids: Sequence[str]) -> Mapping[str, LibrarianError]:
        async with database.hot() as connection:
            found = await tokens_by_ids(connection, token_ids)
        now = clock.now()
        judged = {token_id: end_of(found.get(token_id), now) for token_id in token_ids}
        return {token_id: error for token_id, error in judged.items() if error is not None}

    return ends


def ends_of_peers(book: PeerBook, own_site: str) -> Ends:
    async def ends(peer_ids: Sequence[str]) -> Mapping[str, LibrarianError]:
        found = (await book.peers()).by_id
        gone = {peer_id: no_peer_any_more(own_site) for peer_id in peer_ids if peer_id not in found}
        paused = {
            peer_id: paused_here(found[peer_id].name, own_site)
            for peer_id in peer_ids
            if peer_id in found and found[peer_id].paused
        }
        return {**gone, **paused}

    return ends


def no_peer_any_more(own_site: str) -> PeerUnknown:
    return PeerUnknown(f"{own_site} does not know this site any more")


class CallWatch:
    """Runs beside the door for as long as the gateway does. `forget`: what else was remembered of callers."""

    def __init__(
        self, calls: OpenCalls, ends: Ends, clock: Clock, logger: Logger, *, forget: Callable[[], None]
    ) -> None:
        self._calls = calls
        self._ends = ends
        self._clock = clock
        self._logger = logger
        self._forget = forget
        self._seen_at = clock.monotonic()
        self._is_blind = False

    async def follow(self, bell: Bell) -> None:
        """Looks whenever the bell rings or the time is up. Never returns."""
        mark = bell.mark()
        while True:
            if await bell.wait(mark, RECHECK_SECONDS):
                mark = bell.mark()
                self._forget()
            await self.look()

    async def look(self) -> None:
        """Ends the calls of everyone who may not call any more."""
        token_ids = self._calls.tokens()
        if not token_ids:
            self._seen_at = self._clock.monotonic()
            return
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                ended = await self._ends(token_ids)
        except (Unavailable, TimeoutError) as error:
            self._go_blind(token_ids, error)
            return
        self._seen_at, self._is_blind = self._clock.monotonic(), False
        for token_id, why in ended.items():
            self.end(token_id, why)

    def end(self, token_id: str, error: LibrarianError) -> None:
        """Nothing is done for this token or peer any more, here and now."""
        self._forget()
        count = self._calls.end(token_id, error)
        if count:
            self._logger.info("calls_ended", token_id=token_id, reason=error.reason, calls=count)

    def _go_blind(self, token_ids: list[str], error: Exception) -> None:
        if not self._is_blind:
            self._logger.warning("callers_not_checked", cause=type(error).__name__, message=str(error))
        self._is_blind = True
        if self._clock.monotonic() - self._seen_at > BLIND_SECONDS:
            for token_id in token_ids:
                self.end(
                    token_id,
                    Unavailable(
                        "the token could not be checked for too long, for the database does not answer",
                        remedy="start PostgreSQL, then go on where this call ended",
                    ),
                )
