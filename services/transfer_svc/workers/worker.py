"""The loop of a worker: find what is due, claim it in batches, keep the leases, let go at a stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from librarian.errors import InternalError, LibrarianError, Unavailable
from svckit.notifications import Bell
from svckit.sections import WorkerSettings
from transfer_svc import work_queries
from transfer_svc.context import Context
from transfer_svc.lifecycle import FINAL, IngestState
from transfer_svc.origins import Origins
from transfer_svc.outcomes import may_split
from transfer_svc.values import Job
from transfer_svc.workers.carrying import carry
from transfer_svc.workers.desk import Desk, Means

BATCH: Final = 500
# How long (s) a batch that could not write waits before its work may be claimed again.
_BREATH: Final = 1.0
# Kind of work, and store: each store has its own room, so that one that hangs delays nobody else.
_Room = tuple[str, str]


class Worker:
    """`owner` names this process in leases. `run` and `keep_leases` are its two tasks; `close` ends it."""

    def __init__(
        self,
        context: Context,
        means: Means,
        origins: Origins,
        settings: WorkerSettings,
        *,
        bell: Bell,
        stopping: asyncio.Event,
        owner: str,
    ) -> None:
        self._context = context
        self._means = means
        self._origins = origins
        self._settings = settings
        self._bell = bell
        self._stopping = stopping
        self._owner = owner
        self._ttl = timedelta(seconds=settings.lease_seconds)
        self._busy: Counter[_Room] = Counter()
        self._desks: set[Desk] = set()
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the stop: claims whatever is due and has room; then sleeps until called, or something it
        put off is due, or the timer.
        """
        while not self._stopping.is_set():
            mark = self._bell.mark()
            try:
                claimed = await self._claim_round()
            except LibrarianError as error:
                self._context.logger.warning("claim_failed", reason=error.reason, message=error.message)
                claimed = 0
            if not claimed:
                await self._rest(mark)

    async def keep_leases(self) -> None:
        """Extends what is held, thrice in a lease's time."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            jobs = [job for desk in self._desks for job in desk.jobs.values()]
            if not jobs:
                continue
            until = self._context.clock.now() + self._ttl
            try:
                async with self._context.database.hot() as connection:
                    held = await work_queries.extend_leases(connection, jobs, until)
            except LibrarianError as error:
                self._context.logger.warning("heartbeat_failed", reason=error.reason, count=len(jobs))
                continue
            asked = [job.ingest_id for job in jobs]
            for desk in self._desks:
                desk.keep_only(held, asked)

    async def close(self, grace_seconds: float) -> None:
        """Batches end at their next step; those that do not are cut off. What is still held is released."""
        if self._batches:
            await asyncio.wait(self._batches, timeout=grace_seconds)
        for task in self._batches:
            task.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)

    async def _claim_round(self) -> int:
        """How many ingests were claimed."""
        now = self._context.clock.now()
        async with self._context.database.hot() as connection:
            due = await work_queries.find_work(connection, now)
        count = 0
        for state, store in due:
            room = (_kind_of(state), store)
            if self._busy[room] >= self._settings.concurrency:
                continue
            async with self._context.database.transaction() as transaction:
                jobs = await work_queries.claim_jobs(
                    transaction,
                    state=state,
                    store=store,
                    limit=BATCH,
                    owner=self._owner,
                    now=now,
                    ttl=self._ttl,
                )
            self._context.faults.hit("worker.claimed")
            if jobs:
                self._start(room, jobs)
                count += len(jobs)
        return count

    async def _rest(self, mark: int) -> None:
        seconds = self._means.alarm.wait(self._context.clock.now(), self._settings.poll_seconds)
        rung = asyncio.ensure_future(self._bell.wait(mark, seconds))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([rung, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            rung.cancel()
            stop.cancel()

    def _start(self, room: _Room, jobs: Sequence[Job]) -> None:
        self._busy[room] += 1
        self._means.metrics.batch_count.inc()
        desk = Desk(self._context, self._means, room[1], jobs)
        task = asyncio.create_task(self._carry_out(desk), name=f"batch {room[0]} {room[1]}")
        self._batches.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._batches.discard(task)
            self._busy[room] -= 1
            self._means.metrics.batch_count.dec()
            if not task.cancelled() and (error := task.exception()) is not None:
                self._context.logger.error("batch_broken", store=room[1], exc_info=error)
            # There is room again.
            self._bell.ring()

        task.add_done_callback(ended)

    async def _carry_out(self, desk: Desk) -> None:
        """Carries a batch; one that an item spoils is halved until that item is alone."""
        self._desks.add(desk)
        try:
            await carry(desk, self._origins, self._stopping)
        except Unavailable as error:
            # The database: what is held is released, or its leases run out, and the work is found again.
            self._context.logger.warning("batch_left", store=desk.store, reason=error.reason)
            await self._pause(_BREATH)
        except Exception as error:
            if not (isinstance(error, LibrarianError) and may_split(error, len(desk.jobs))):
                self._context.logger.exception("batch_failed", store=desk.store, count=len(desk.jobs))
            if len(desk.jobs) > 1:
                await self._carry_halves(desk)
            else:
                await self._put_off(desk)
        finally:
            self._desks.discard(desk)
            await self._let_go(desk)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _carry_halves(self, desk: Desk) -> None:
        halves = desk.halves()
        self._desks.discard(desk)
        desk.jobs.clear()
        self._desks.update(halves)
        for half in halves:
            await self._carry_out(half)

    async def _put_off(self, desk: Desk) -> None:
        error = InternalError("this ingest met an unexpected error; the worker's log has the details")
        try:
            await desk.retry(list(desk.jobs.values()), error)
        except LibrarianError as trouble:
            self._context.logger.warning("batch_left", store=desk.store, reason=trouble.reason)

    async def _let_go(self, desk: Desk) -> None:
        """What is left on the desk at the end; leases that cannot be released run out."""
        try:
            await desk.release()
        except LibrarianError as error:
            self._context.logger.warning("release_failed", store=desk.store, reason=error.reason)


def _kind_of(state: int) -> str:
    if state == IngestState.OPEN:
        return "expire"
    return "settle" if state in FINAL else "carry"
