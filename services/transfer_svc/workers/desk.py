"""The ingests of one batch while this worker holds them, and the writing about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from librarian.errors import LibrarianError, PathHeldByUpload
from svckit.tracing import Tracing
from transfer_svc import backoff, work_queries
from transfer_svc.backoff import Backoff
from transfer_svc.context import Context
from transfer_svc.lifecycle import FINAL, INGEST, IngestEvent, IngestState
from transfer_svc.messages import error_to_json
from transfer_svc.outcomes import Decision, Step
from transfer_svc.values import Job, Outcome
from transfer_svc.workers.alarm import Alarm
from transfer_svc.workers.metrics import WorkMetrics

# What is to become of jobs; those whose step is WAIT or ASK are left as they are.
Decided = Sequence[tuple[Job, Decision]]


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker adds to the context. `rand`: numbers in [0, 1)."""

    alarm: Alarm
    rand: Callable[[], float]
    metrics: WorkMetrics
    tracing: Tracing


class Desk:
    """`jobs` holds those still ours: one whose write is refused is another worker's now and dropped."""

    def __init__(self, context: Context, means: Means, store: str, jobs: Iterable[Job]) -> None:
        self.context = context
        self.store = store
        self.jobs = {job.ingest_id: job for job in jobs}
        self._means = means

    def in_state(self, *states: IngestState) -> list[Job]:
        return [job for job in self.jobs.values() if job.state in states]

    def halves(self) -> tuple[Desk, Desk]:
        jobs = list(self.jobs.values())
        middle = len(jobs) // 2
        return (
            Desk(self.context, self._means, self.store, jobs[:middle]),
            Desk(self.context, self._means, self.store, jobs[middle:]),
        )

    def keep_only(self, held: set[str], asked: Iterable[str]) -> None:
        """Drops those asked about that are not held any more."""
        lost = [uid for uid in asked if uid not in held and uid in self.jobs]
        for uid in lost:
            self.jobs.pop(uid, None)
        if lost:
            self.context.logger.warning("lease_lost", store=self.store, count=len(lost), ingest_ids=lost[:10])

    async def decide(self, decided: Decided) -> None:
        """Writes decisions down. Moved ones stay on the desk; those to be tried again leave it."""
        now = self.context.clock.now()
        outcomes = [
            self._moved(job, decision, now) for job, decision in decided if decision.step is Step.MOVE
        ]
        ended = any(outcome.state in FINAL for outcome in outcomes)
        again = [(job, decision.error) for job, decision in decided if decision.step is Step.RETRY]
        for curve in (backoff.TROUBLE, backoff.HELD):
            outcomes += self._postponed([each for each in again if _curve_of(each[1]) is curve], curve, now)
        self._tell_troubles(again)
        held = await self._write(outcomes, now, tell=ended)
        self._count_ended([job for job, d in decided if d.step is Step.MOVE and job.ingest_id in held], now)

    async def settled(self, jobs: Sequence[Job]) -> None:
        """Nothing is left to be done for these."""
        now = self.context.clock.now()
        await self._write(
            [
                Outcome(
                    job.ingest_id,
                    job.lease_fence,
                    IngestState(job.state),
                    attempt_count=0,
                    not_before=now,
                    error_json=job.error_json,
                    dataset_uid=job.dataset_uid,
                    settled=True,
                    upload_void=job.upload_void,
                )
                for job in jobs
            ],
            now,
            tell=False,
        )

    async def expired(self, decided: Decided) -> None:
        """As `decide`, of ingests whose store has cleared its side already: they are settled at once."""
        now = self.context.clock.now()
        moved = [self._moved(job, decision, now, settled=True) for job, decision in decided]
        held = await self._write(moved, now, tell=True)
        self._count_ended([job for job, _ in decided if job.ingest_id in held], now)

    async def retry(self, jobs: Sequence[Job], error: LibrarianError) -> None:
        """Trouble that may pass: note it, let go, come back later."""
        await self.decide([(job, Decision(Step.RETRY, error=error)) for job in jobs])

    async def prolong(self, jobs: Sequence[Job]) -> None:
        """These turned out to be alive."""
        until = self.context.clock.now() + self.context.lifetime
        async with self.context.database.hot() as connection:
            await work_queries.prolong_jobs(connection, jobs, until)
        self._forget(jobs)

    async def release(self) -> None:
        """Lets others take up what is left."""
        jobs = list(self.jobs.values())
        if jobs:
            async with self.context.database.hot() as connection:
                await work_queries.release_jobs(connection, jobs)
            self._forget(jobs)

    def _tell_troubles(self, again: Sequence[tuple[Job, LibrarianError | None]]) -> None:
        """One event for each reason: a store that is down puts hundreds off at once."""
        troubles: dict[str, list[tuple[Job, str]]] = {}
        for job, error in again:
            reason, message = (error.reason, error.message) if error else ("", "")
            self._means.metrics.troubles.labels(reason).inc()
            troubles.setdefault(reason, []).append((job, message))
        for reason, put_off in troubles.items():
            self.context.logger.warning(
                "ingests_put_off",
                store=self.store,
                reason=reason,
                message=put_off[0][1],
                count=len(put_off),
                ingest_ids=[job.ingest_id for job, _ in put_off[:10]],
            )

    def _moved(self, job: Job, decision: Decision, now: datetime, *, settled: bool = False) -> Outcome:
        assert decision.event is not None
        job.state = INGEST.move(IngestState(job.state), decision.event, item=job.ingest_id)
        job.attempt_count = 0
        job.error_json = error_to_json(decision.error) if decision.error else ""
        if job.state == IngestState.PUBLISHED:
            job.dataset_uid = decision.dataset_uid or job.uid
        if decision.event is IngestEvent.FIND:
            job.upload_void = True
        return Outcome(
            job.ingest_id,
            job.lease_fence,
            IngestState(job.state),
            attempt_count=0,
            not_before=now,
            error_json=job.error_json,
            dataset_uid=job.dataset_uid,
            settled=settled,
            keep=not settled,
            upload_void=job.upload_void,
        )

    def _postponed(
        self, again: Sequence[tuple[Job, LibrarianError | None]], curve: Backoff, now: datetime
    ) -> list[Outcome]:
        """All to the same time, so that they stay a batch."""
        if not again:
            return []
        attempt = max(job.attempt_count for job, _ in again)
        due = now + timedelta(seconds=curve.delay(attempt, self._means.rand()))
        self._means.alarm.set(due)
        return [
            Outcome(
                job.ingest_id,
                job.lease_fence,
                IngestState(job.state),
                attempt_count=job.attempt_count,
                not_before=due,
                # One that has ended keeps the reason why it did.
                error_json=error_to_json(error) if error and job.state not in FINAL else job.error_json,
                dataset_uid=job.dataset_uid,
                upload_void=job.upload_void,
            )
            for job, error in again
        ]

    def _count_ended(self, jobs: Iterable[Job], now: datetime) -> None:
        """Each ingest that ends is counted once, and its whole life is a span of its dataset's trace."""
        metrics, tracing = self._means.metrics, self._means.tracing
        for job in jobs:
            state = IngestState(job.state)
            if state not in FINAL:
                continue
            metrics.ended.labels(state.name).inc()
            if state is IngestState.FAILED:
                self.context.logger.info(
                    "ingest_failed",
                    ingest_id=job.ingest_id,
                    name=job.name,
                    store=job.store,
                    error=job.error_json,
                )
            if state is IngestState.PUBLISHED:
                metrics.ingested_bytes.inc(job.claimed_bytes or 0)
            if tracing.enabled:
                tracing.record(
                    "ingest",
                    traceparent=job.traceparent,
                    start=job.begin_time,
                    end=now,
                    attributes={
                        "dataset.uid": job.dataset_uid or job.uid,
                        "dataset.name": job.name,
                        "store": job.store,
                        "state": state.name,
                    },
                )

    async def _write(self, outcomes: Sequence[Outcome], now: datetime, *, tell: bool) -> set[str]:
        """Answers whose write counted."""
        if not outcomes:
            return set()
        async with self.context.database.hot() as connection:
            held = await work_queries.write_outcomes(
                connection, outcomes, now=now, channel=self.context.channels.final, tell=tell
            )
        self.keep_only(held, [outcome.ingest_id for outcome in outcomes])
        for outcome in outcomes:
            if not outcome.keep:
                self.jobs.pop(outcome.ingest_id, None)
        return held

    def _forget(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.jobs.pop(job.ingest_id, None)


def _curve_of(error: LibrarianError | None) -> Backoff:
    return backoff.HELD if isinstance(error, PathHeldByUpload) else backoff.TROUBLE
