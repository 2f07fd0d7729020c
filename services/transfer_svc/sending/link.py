"""Calls to one destination, through a breaker: while it does not answer, one call at a time tries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import LibrarianError, Unavailable
from transfer_svc.sending import link_queries
from transfer_svc.sending.means import Means
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.troubles import LINK, LINK_RETRY
from transfer_svc.sending.values import Destination

if TYPE_CHECKING:
    from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceAsyncStub

CALL_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 10.0
# That it works is written down this often (s).
_NOTED_SECONDS: Final = 10.0


class Link:
    """`stub`: the federation service at the destination, wherever that is now. `run` mends it; one task."""

    def __init__(
        self, means: Means, roster: Roster, to: Destination, stub: Callable[[], FederationServiceAsyncStub]
    ) -> None:
        self.to = to
        self._means = means
        self._roster = roster
        self._stub = stub
        self._working = asyncio.Event()
        self._working.set()
        self._mending: asyncio.Task[None] | None = None
        self._noted_at = -_NOTED_SECONDS

    @property
    def works(self) -> bool:
        """As far as is known."""
        return self._working.is_set()

    async def call(self, method: str, request: Any, *, seconds: float = CALL_SECONDS) -> Any:
        """The answer, however long the destination is away or paused. Raises what it says of the request."""
        failures = 0
        while True:
            await self._permitted()
            await self._working.wait()
            try:
                answer = await getattr(self._stub(), method)(request, timeout=seconds)
            except LINK as error:
                failures += 1
                self._broken(error)
                # The probe may get through where this very call does not.
                if failures > 1:
                    await asyncio.sleep(LINK_RETRY.delay(failures, self._means.rand()))
                continue
            await self._note_success()
            return answer

    async def close(self) -> None:
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)

    async def _permitted(self) -> None:
        while True:
            mark = self._roster.changed.mark()
            if self._roster.reachable(self.to):
                return
            await self._roster.changed.wait(mark, self._means.poll_seconds)

    def _broken(self, error: LibrarianError) -> None:
        if not self._working.is_set():
            return
        self._working.clear()
        self._means.context.logger.warning(
            "link_broken", destination=str(self.to), reason=error.reason, message=error.message
        )
        self._mending = asyncio.create_task(self._mend(error), name=f"link {self.to}")

    async def _mend(self, error: LibrarianError) -> None:
        """Until it works again: tried by one worker at a time, each time a little later."""
        failures = 0
        while True:
            failures += 1
            delay = LINK_RETRY.delay(failures, self._means.rand())
            await self._write_failure(error, delay)
            await asyncio.sleep(delay)
            await self._permitted()
            try:
                if not await self._my_turn():
                    if await self._works_for_others():
                        break
                    failures -= 1
                    continue
                await self._probe()
                break
            except LINK as again:
                error = again
        self._working.set()
        self._means.context.logger.info("link_mended", destination=str(self.to))
        with suppress(Unavailable):
            await self._note_success(now=True)

    async def _probe(self) -> None:
        """A question whose answer does not matter."""
        request = pb.GetBatchRequest(batch_id=self._means.context.ids.new_uid())
        try:
            await self._stub().GetBatch(request, timeout=_PROBE_SECONDS)
        except LINK:
            raise
        except LibrarianError:
            return

    async def _my_turn(self) -> bool:
        now = self._means.context.clock.now()
        async with self._means.context.database.hot() as connection:
            return await link_queries.claim_probe(
                connection, self.to, now=now, until=now + timedelta(seconds=_PROBE_SECONDS)
            )

    async def _works_for_others(self) -> bool:
        async with self._means.context.database.hot() as connection:
            row = await link_queries.link_of(connection, self.to)
        return row is None or row["failure_count"] == 0

    async def _write_failure(self, error: LibrarianError, delay: float) -> None:
        now = self._means.context.clock.now()
        reason = f"{error.reason}: {error.message}"
        with suppress(Unavailable):
            async with self._means.context.database.hot() as connection:
                await link_queries.note_failure(
                    connection, self.to, reason, now=now, next_time=now + timedelta(seconds=delay)
                )

    async def _note_success(self, *, now: bool = False) -> None:
        clock = self._means.context.clock
        if not now and clock.monotonic() - self._noted_at < _NOTED_SECONDS:
            return
        self._noted_at = clock.monotonic()
        async with self._means.context.database.hot() as connection:
            await link_queries.note_success(connection, self.to, now=clock.now())
