"""Telling store services which tokens have ended, until each has answered: tickets outlive calls.

What is to be told is committed with the revocation itself (an outbox). Every store service has a task of
its own, so a dead one delays nobody; repeating is harmless, for the request_id is committed too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from sqlalchemy import Row

from gateway import queries
from gateway.backends import Backend
from librarian.api.store.v1.store_pb2 import RevokeTicketsRequest
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.errors import LibrarianError, Unavailable
from svckit.auth import Signer
from svckit.channels import call_metadata
from svckit.clock import Clock
from svckit.database import Database
from svckit.notifications import Bell
from svckit.telemetry import Logger

POLL_SECONDS = 20.0
_CALL_SECONDS = 5.0
_BATCH = 100
_FIRST_PAUSE = timedelta(seconds=0.5)
_LONGEST_PAUSE = timedelta(seconds=30)


def pause_after(attempt_count: int) -> timedelta:
    """How long to leave a service alone that has failed so often before."""
    return min(_FIRST_PAUSE * (1 << min(attempt_count, 16)), _LONGEST_PAUSE)


class TicketRevocations:
    """The outbox of one store service."""

    def __init__(
        self,
        store_service: str,
        backend: Backend,
        *,
        database: Database,
        clock: Clock,
        signer: Signer,
        logger: Logger,
    ) -> None:
        self._store_service = store_service
        self._backend = backend
        self._database = database
        self._clock = clock
        self._signer = signer
        self._logger = logger.bind(store_service=store_service)

    async def follow(self, bell: Bell) -> None:
        """Tells what is due whenever the bell rings or the time is up. Never returns."""
        while True:
            mark = bell.mark()
            pause = POLL_SECONDS
            try:
                pause = await self.tell_due()
            except Unavailable as error:
                self._logger.warning("ticket_revocations_wait", message=error.message)
            await bell.wait(mark, pause)

    async def tell_due(self) -> float:
        """Tells what is due, to the first failure; answers in how many seconds to look again."""
        async with self._database.transaction() as connection:
            due = await queries.due_ticket_revocations(
                connection, self._store_service, self._clock.now(), _BATCH
            )
        for row in due:
            try:
                await self._tell(row)
            except LibrarianError as error:
                await self._postpone(row, error)
                break
            async with self._database.transaction() as connection:
                await queries.drop_ticket_revocation(connection, row.token_id, self._store_service)
            self._logger.info("tickets_revoked", token_id=row.token_id)
        async with self._database.transaction() as connection:
            next_due = await queries.next_ticket_revocation(connection, self._store_service)
        if next_due is None:
            return POLL_SECONDS
        # Never at once: what is due behind a failure waits a moment with it.
        seconds = (next_due - self._clock.now()).total_seconds()
        return min(max(seconds, _FIRST_PAUSE.total_seconds()), POLL_SECONDS)

    async def _tell(self, row: Row[Any]) -> None:
        request = RevokeTicketsRequest(request_id=row.request_id, token_ids=[row.token_id])
        try:
            await StoreServiceStub(self._backend.channel).RevokeTickets(
                request,
                timeout=_CALL_SECONDS,
                metadata=call_metadata(self._signer.mint_own(self._backend.audience)),
            )
        except grpc.aio.AioRpcError as error:
            raise self._backend.error_of(error) from error

    async def _postpone(self, row: Row[Any], error: LibrarianError) -> None:
        not_before = self._clock.now() + pause_after(row.attempt_count)
        async with self._database.transaction() as connection:
            await queries.postpone_ticket_revocation(
                connection, row.token_id, self._store_service, not_before
            )
        self._logger.warning(
            "tickets_not_revoked",
            token_id=row.token_id,
            attempts=row.attempt_count + 1,
            reason=error.reason,
            message=error.message,
        )
