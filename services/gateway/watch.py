"""The end of tokens whose calls are still in flight: revoked or expired, they are cut within a second.

NOTIFY is the hint, reading again every RECHECK_SECONDS while calls are open is the truth.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from gateway.authentication import Authentication
from gateway.opencalls import OpenCalls
from gateway.queries import tokens_by_ids
from gateway.tokens import Token
from librarian.errors import LibrarianError, TokenInvalid, Unauthenticated, Unavailable
from svckit.clock import Clock
from svckit.database import Database
from svckit.notifications import Bell
from svckit.telemetry import Logger

RECHECK_SECONDS = 0.3
# While the database does not answer nobody can revoke through it either, unless only this gateway lost
# it. Streams that have moved gigabytes are not cut for a restart of PostgreSQL.
BLIND_SECONDS = 30.0
_LOOK_SECONDS = 5.0


def end_of(token: Token | None, now: datetime) -> LibrarianError | None:
    """Why calls of this token may not go on; None while they may."""
    if token is None:
        return TokenInvalid("this site knows no such token any more")
    try:
        token.check(now)
    except Unauthenticated as error:
        return error
    return None


class TokenWatch:
    """Runs beside the door for as long as the gateway does."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        calls: OpenCalls,
        authentication: Authentication,
        logger: Logger,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._authentication = authentication
        self._logger = logger
        self._seen_at = clock.monotonic()
        self._is_blind = False

    async def follow(self, bell: Bell) -> None:
        """Looks whenever the bell rings or the time is up. Never returns."""
        mark = bell.mark()
        while True:
            if await bell.wait(mark, RECHECK_SECONDS):
                mark = bell.mark()
                self._authentication.forget()
            await self.look()

    async def look(self) -> None:
        """Ends the calls of every token that is not good any more."""
        token_ids = self._calls.tokens()
        if not token_ids:
            self._seen_at = self._clock.monotonic()
            return
        try:
            async with asyncio.timeout(_LOOK_SECONDS), self._database.hot() as connection:
                found = await tokens_by_ids(connection, token_ids)
        except (Unavailable, TimeoutError) as error:
            self._go_blind(token_ids, error)
            return
        self._seen_at, self._is_blind = self._clock.monotonic(), False
        now = self._clock.now()
        for token_id in token_ids:
            ended = end_of(found.get(token_id), now)
            if ended is not None:
                self.end(token_id, ended)

    def end(self, token_id: str, error: LibrarianError) -> None:
        """Nothing is done for this token any more, here and now."""
        self._authentication.forget()
        count = self._calls.end(token_id, error)
        if count:
            self._logger.info("token_calls_ended", token_id=token_id, reason=error.reason, calls=count)

    def _go_blind(self, token_ids: list[str], error: Exception) -> None:
        if not self._is_blind:
            self._logger.warning("tokens_not_checked", cause=type(error).__name__, message=str(error))
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
