"""The part of a worker that is at disks: claims jobs at its docks, carries them out, keeps their leases.

An error of a class that may pass puts a job off; any other ends it: whoever stands beside the disk is told
what to do, and the same call goes on. What a job had done before it ended is found again by its own means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from librarian.errors import (
    Cancelled,
    DeadlineExceeded,
    DiskGone,
    InternalError,
    LibrarianError,
    StaleLease,
    Unavailable,
)
from librarian.handover import Stopped
from svckit.notifications import Bell, notify
from svckit.sitekeys import SiteKeys
from transfer_svc.backoff import Backoff
from transfer_svc.context import Context
from transfer_svc.messages import error_to_json
from transfer_svc.movers.tasks import Hands
from transfer_svc.sending.rates import Rate
from transfer_svc.shipping import job_queries
from transfer_svc.shipping.desk import JobDesk
from transfer_svc.shipping.lifecycle import JobEvent, JobKind
from transfer_svc.shipping.values import DiskJob

Work = Callable[[JobDesk], Awaitable[None]]

# Disks at once; each takes a thread or two while bytes move.
MOST_JOBS: Final = 8
_TELL_SECONDS: Final = 1.0
_PASSING: Final = (Unavailable, DeadlineExceeded, Cancelled)
_LATER: Final = Backoff(base=1.0, ceiling=60.0)


class Docks:
    """`works`: what is done for each kind. `run` and `keep_leases` are its two tasks; `close` ends it."""

    def __init__(
        self,
        context: Context,
        keys: SiteKeys,
        works: Mapping[JobKind, Work],
        *,
        docks: list[str],
        owner: str,
        ttl: timedelta,
        poll_seconds: float,
        bell: Bell,
        stopping: asyncio.Event,
        rand: Callable[[], float],
    ) -> None:
        self._context = context
        self._keys = keys
        self._works = works
        self._docks = docks
        self._owner = owner
        self._ttl = ttl
        self._poll_seconds = poll_seconds
        self._bell = bell
        self._stopping = stopping
        self._rand = rand
        self._hands = Hands(2 * MOST_JOBS)
        self._desks: dict[str, JobDesk] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the stop."""
        while self._docks and not self._stopping.is_set():
            mark = self._bell.mark()
            try:
                claimed = await self._claim()
            except LibrarianError as error:
                self._context.logger.warning("disk_claim_failed", reason=error.reason, message=error.message)
                claimed = 0
            if not claimed:
                await self._rest(mark)

    async def keep_leases(self) -> None:
        """Extends what is held, thrice in a lease's time; what was cancelled or lost is stopped."""
        while True:
            await self._bell.wait(self._bell.mark(), self._ttl.total_seconds() / 3)
            desks = list(self._desks.values())
            if not desks:
                continue
            try:
                async with self._context.database.transaction() as connection:
                    kept = await job_queries.extend(
                        connection, [desk.job for desk in desks], now=self._context.clock.now(), ttl=self._ttl
                    )
            except LibrarianError as error:
                self._context.logger.warning("disk_heartbeat_failed", reason=error.reason)
                continue
            for desk in desks:
                if desk.job.job_id not in kept:
                    desk.stop.set()

    async def close(self) -> None:
        """Jobs stop at their next chunk; another worker may take them up at once."""
        desks = list(self._desks.values())
        for desk in desks:
            desk.stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._hands.close()

    async def _claim(self) -> int:
        room = MOST_JOBS - len(self._desks)
        if room <= 0:
            return 0
        async with self._context.database.transaction() as connection:
            jobs = await job_queries.claim(
                connection,
                docks=self._docks,
                limit=room,
                owner=self._owner,
                now=self._context.clock.now(),
                ttl=self._ttl,
            )
        for job in jobs:
            self._start(job)
        return len(jobs)

    async def _rest(self, mark: int) -> None:
        seconds = self._poll_seconds
        async with self._context.database.transaction() as connection:
            due = await job_queries.next_due(connection)
        if due is not None:
            seconds = min(seconds, max((due - self._context.clock.now()).total_seconds(), 0.05))
        rung = asyncio.ensure_future(self._bell.wait(mark, seconds))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([rung, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            rung.cancel()
            stop.cancel()

    def _start(self, job: DiskJob) -> None:
        desk = JobDesk(self._context, self._keys, self._hands, job)
        self._desks[job.job_id] = desk
        task = asyncio.create_task(self._carry_out(desk), name=f"disk job {job.job_id}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._desks.pop(job.job_id, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._context.logger.error("disk_job_broken", job_id=job.job_id, exc_info=error)
            self._bell.ring()

        task.add_done_callback(ended)

    async def _carry_out(self, desk: JobDesk) -> None:
        telling = asyncio.create_task(self._tell(desk), name=f"progress {desk.job.job_id}")
        try:
            self._context.faults.hit("dock.begun")
            await self._works[JobKind(desk.job.kind)](desk)
        except (Stopped, StaleLease):
            outcome = None
        except LibrarianError as error:
            outcome = error
        except Exception:
            self._context.logger.exception("disk_job_failed", job_id=desk.job.job_id, path=desk.job.path)
            outcome = InternalError("this job met an unexpected error; the worker's log has the details")
        else:
            telling.cancel()
            await self._end(desk, JobEvent.FINISH, results="\n".join(desk.results))
            return
        finally:
            telling.cancel()
        await self._after(desk, outcome)

    async def _after(self, desk: JobDesk, error: LibrarianError | None) -> None:
        if error is None:
            async with self._context.database.transaction() as connection:
                await job_queries.release(connection, [desk.job])
        elif isinstance(error, _PASSING) and not isinstance(error, DiskGone):
            pause = timedelta(seconds=_LATER.delay(1, self._rand()))
            later = self._context.clock.now() + pause
            await self._end(desk, JobEvent.PUT_OFF, error_json=error_to_json(error), not_before=later)
        else:
            self._context.logger.warning(
                "disk_job_ended", job_id=desk.job.job_id, path=desk.job.path, reason=error.reason
            )
            await self._end(desk, JobEvent.FAIL, error_json=error_to_json(error))

    async def _end(self, desk: JobDesk, event: JobEvent, **values: object) -> None:
        told = {**_numbers(desk), **values, "bytes_per_second": 0, "update_time": self._context.clock.now()}
        async with self._context.database.transaction() as connection:
            if await job_queries.end(connection, desk.job, event, told):
                await notify(connection, self._context.channels.final, desk.job.job_id)
        self._context.faults.hit("dock.ended")

    async def _tell(self, desk: JobDesk) -> None:
        """Writes progress down now and then; stops a job that is another's now."""
        rate = Rate()
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            speed = rate.note(self._context.clock.monotonic(), desk.progress.done_bytes)
            values = {
                **_numbers(desk),
                "bytes_per_second": speed,
                "update_time": self._context.clock.now(),
            }
            try:
                async with self._context.database.transaction() as connection:
                    if not await job_queries.tell(connection, desk.job, values):
                        desk.stop.set()
            except LibrarianError as error:
                self._context.logger.warning("disk_progress_untold", reason=error.reason)


def _numbers(desk: JobDesk) -> dict[str, object]:
    now = desk.progress
    return {
        "step": now.step,
        "done_bytes": now.done_bytes,
        "total_bytes": now.total_bytes,
        "done_count": now.done_count,
        "total_count": now.total_count,
        "disk_id": desk.job.disk_id,
    }
