"""Jobs at disks on a real database: who takes them, what becomes of them, and that none is done twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.eventually import eventually

from librarian.api.shipment.v1 import shipment_pb2 as pb
from librarian.errors import DiskBusy, DiskGone, DiskUnknown, InvalidInput, JobNotFound, Unavailable
from svckit.auth import Caller, Role
from svckit.clock import SystemClock, SystemIds
from svckit.database import Database
from svckit.faults import NO_FAULTS
from svckit.migrations import migrate
from svckit.notifications import listening
from svckit.sitekeys import SiteKeys
from transfer_svc.app import MIGRATIONS
from transfer_svc.context import Channels, Context
from transfer_svc.shipping import jobs
from transfer_svc.shipping.desk import JobDesk
from transfer_svc.shipping.docks import Docks, Work
from transfer_svc.shipping.lifecycle import JobKind
from transfer_svc.shipping.values import DiskJob
from transfer_svc.waiting import Waiting

OPERATOR = Caller("carla", Role.OPERATOR, token_id="token-carla")
SECONDS = 90.0


class Lab:
    """A context without other services: jobs need none."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.context = Context(
            database=database,
            channels=Channels.of_schema("transfer"),
            catalog=cast("Any", None),
            stores=cast("Any", None),
            clock=SystemClock(),
            ids=SystemIds(),
            faults=NO_FAULTS,
            logger=structlog.get_logger(),
            site="lab",
            lifetime=timedelta(days=1),
        )
        self.waiting = Waiting()

    async def ask(self, path: str, kind: JobKind = JobKind.SYNC, **fields: Any) -> DiskJob:
        async with self.context.database.transaction() as connection:
            return await jobs.ask(
                self.context,
                connection,
                OPERATOR,
                kind=kind,
                path=path,
                request=pb.SyncDiskRequest(path=path),
                **fields,
            )

    async def look(self, job_id: str, timeout_ms: int = 0) -> pb.Job:
        request = pb.WaitJobsRequest(job_ids=[job_id], timeout_ms=timeout_ms)
        (found,) = await jobs.wait_jobs(self.context, self.waiting, asyncio.Event(), request)
        return found

    async def until(self, job_id: str, state: pb.JobState.ValueType) -> pb.Job:
        async def reached() -> bool:
            return (await self.look(job_id)).state == state

        await eventually(reached, timeout=SECONDS, what=f"the job is {pb.JobState.Name(state)}")
        return await self.look(job_id)

    @asynccontextmanager
    async def docks(
        self, work: Work, *roots: str, owner: str = "w1", ttl: timedelta = timedelta(seconds=3)
    ) -> AsyncIterator[asyncio.Event]:
        """A worker's part at disks; what is yielded stops it."""
        stopping = asyncio.Event()
        keys = SiteKeys("lab", Ed25519PrivateKey.generate())
        async with listening(self.dsn, self.context.channels.docks, application_name="test-docks") as bell:
            docks = Docks(
                self.context,
                keys,
                {JobKind.SYNC: work, JobKind.INIT: work},
                docks=list(roots or ("/",)),
                owner=owner,
                ttl=ttl,
                poll_seconds=0.5,
                bell=bell,
                stopping=stopping,
                rand=lambda: 0.0,
            )
            tasks = [asyncio.create_task(docks.run()), asyncio.create_task(docks.keep_leases())]
            try:
                yield stopping
            finally:
                stopping.set()
                await docks.close()
                tasks[1].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def lab(database_dsn: str) -> AsyncIterator[Lab]:
    await migrate(database_dsn, "transfer", MIGRATIONS, "auto")
    async with Database.open(database_dsn, schema="transfer", application_name="test") as database:
        made = Lab(database_dsn, database)
        async with listening(
            database_dsn,
            made.context.channels.final,
            application_name="test-final",
            hear=made.waiting.hear,
        ):
            yield made


def blocking(begun: threading.Event) -> Work:
    """Works in a thread until it is stopped."""

    async def work(desk: JobDesk) -> None:
        def until_stopped() -> None:
            begun.set()
            while not desk.stop.wait(0.02):
                desk.tick(1)
            desk.check()

        await desk.hands.do(until_stopped)

    return work


async def test_a_job_is_done_and_says_what_came_of_it(lab: Lab) -> None:
    async def work(desk: JobDesk) -> None:
        desk.progress.begin("copying", total_bytes=10, total_count=2)
        desk.tick(10)
        desk.progress.add(done_count=2)
        desk.say(["one line", "another"])

    job = await lab.ask("/media/a")
    async with lab.docks(work):
        done = await lab.until(job.job_id, pb.JOB_STATE_DONE)
    assert (done.step, done.done_bytes, done.total_bytes, done.done_count) == ("copying", 10, 10, 2)
    assert list(done.results) == ["one line", "another"]
    assert not done.HasField("error")


async def test_only_a_worker_whose_docks_reach_the_path_takes_it(lab: Lab, tmp_path: Path) -> None:
    seen: list[str] = []

    def noting(owner: str) -> Callable[[JobDesk], Awaitable[None]]:
        async def work(desk: JobDesk) -> None:
            seen.append(f"{owner}:{desk.job.path}")

        return work

    near, far = await lab.ask("/media/a/disk1"), await lab.ask("/mnt/a_b")
    # A dock's name is no pattern: `_` stands for itself.
    beside = await lab.ask("/mnt/aXb/disk")
    async with lab.docks(noting("mountain"), "/media/a", "/mnt/a_b", owner="mountain"):
        await lab.until(near.job_id, pb.JOB_STATE_DONE)
        await lab.until(far.job_id, pb.JOB_STATE_DONE)
        assert (await lab.look(beside.job_id)).state == pb.JOB_STATE_WAITING
    assert sorted(seen) == ["mountain:/media/a/disk1", "mountain:/mnt/a_b"]


async def test_the_same_call_again_is_the_same_job_and_another_is_told_to_wait(lab: Lab) -> None:
    first = await lab.ask("/media/a")
    again = await lab.ask("/media/./a/")
    assert again.job_id == first.job_id
    with pytest.raises(DiskBusy):
        await lab.ask("/media/a", JobKind.INIT)
    with pytest.raises(InvalidInput):
        await lab.ask("media/a")
    with pytest.raises(JobNotFound):
        await lab.look("00000000-0000-0000-0000-000000000000")


async def test_what_somebody_has_to_mend_ends_a_job_and_the_same_call_begins_anew(lab: Lab) -> None:
    mended = False

    async def work(desk: JobDesk) -> None:
        if not mended:
            raise DiskUnknown("nothing says which disk this is", path=desk.job.path)

    job = await lab.ask("/media/a")
    async with lab.docks(work):
        failed = await lab.until(job.job_id, pb.JOB_STATE_FAILED)
        assert (failed.error.reason, failed.error.metadata["path"]) == ("DISK_UNKNOWN", "/media/a")
        assert "disk init" in failed.error.metadata["remedy"]
        mended = True
        again = await lab.ask("/media/a")
        assert again.job_id != job.job_id
        await lab.until(again.job_id, pb.JOB_STATE_DONE)


async def test_a_pulled_cable_ends_a_job_at_once(lab: Lab) -> None:
    async def work(_desk: JobDesk) -> None:
        raise DiskGone("it is not there any more")

    job = await lab.ask("/media/a")
    async with lab.docks(work):
        failed = await lab.until(job.job_id, pb.JOB_STATE_FAILED)
    assert failed.error.reason == "DISK_GONE"


async def test_trouble_that_may_pass_is_waited_out(lab: Lab) -> None:
    tries = 0

    async def work(_desk: JobDesk) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("the store does not answer")

    job = await lab.ask("/media/a")
    async with lab.docks(work):
        done = await lab.until(job.job_id, pb.JOB_STATE_DONE)
    assert tries == 3
    assert not done.HasField("error")


async def test_an_unexpected_error_is_no_end_of_the_worker(lab: Lab) -> None:
    async def work(desk: JobDesk) -> None:
        if desk.job.path == "/media/a":
            raise RuntimeError("a bug")

    bad, good = await lab.ask("/media/a"), await lab.ask("/media/b")
    async with lab.docks(work):
        failed = await lab.until(bad.job_id, pb.JOB_STATE_FAILED)
        await lab.until(good.job_id, pb.JOB_STATE_DONE)
    assert failed.error.reason == "INTERNAL"
    assert "a bug" not in failed.error.message


async def test_a_cancelled_job_stops(lab: Lab) -> None:
    begun = threading.Event()
    job = await lab.ask("/media/a")
    async with lab.docks(blocking(begun)):
        await asyncio.to_thread(begun.wait, SECONDS)
        (told,) = await jobs.cancel_jobs(lab.context, [job.job_id])
        assert told.state == pb.JOB_STATE_CANCELLED

        async def free() -> bool:
            async with lab.context.database.transaction() as connection:
                return (await lab_open(connection)) == 0

        await eventually(free, timeout=SECONDS, what="nothing is open")
        # The worker is free for the same path again.
        again = await lab.ask("/media/a")
        await lab.until(again.job_id, pb.JOB_STATE_RUNNING)


async def lab_open(connection: Any) -> int:
    from transfer_svc.shipping import job_queries

    return len(await job_queries.fetch_open(connection, 10))


async def test_a_worker_that_stops_leaves_its_job_to_another(lab: Lab) -> None:
    begun = threading.Event()
    job = await lab.ask("/media/a")
    async with lab.docks(blocking(begun), owner="first"):
        await asyncio.to_thread(begun.wait, SECONDS)
    assert (await lab.look(job.job_id)).state == pb.JOB_STATE_RUNNING

    async def work(_desk: JobDesk) -> None:
        pass

    async with lab.docks(work, owner="second"):
        await lab.until(job.job_id, pb.JOB_STATE_DONE)


async def test_a_job_whose_worker_died_is_taken_over_and_the_late_one_is_void(lab: Lab) -> None:
    """The first claims and never says a word again; the second does the work, and what the first writes
    after that is refused.
    """
    from transfer_svc.shipping import job_queries
    from transfer_svc.shipping.lifecycle import JobEvent

    job = await lab.ask("/media/a")
    async with lab.context.database.transaction() as connection:
        (held,) = await job_queries.claim(
            connection,
            docks=["/"],
            limit=1,
            owner="dead",
            now=datetime.now(UTC) - timedelta(minutes=1),
            ttl=timedelta(seconds=1),
        )

    async def work(_desk: JobDesk) -> None:
        pass

    async with lab.docks(work, owner="second"):
        await lab.until(job.job_id, pb.JOB_STATE_DONE)
    late = replace(held)
    async with lab.context.database.transaction() as connection:
        assert not await job_queries.tell(connection, late, {"step": "copying"})
        assert not await job_queries.end(connection, late, JobEvent.FAIL, {})
    assert (await lab.look(job.job_id)).state == pb.JOB_STATE_DONE


async def test_who_waits_hears_of_the_end_at_once(lab: Lab) -> None:
    gate = asyncio.Event()

    async def work(_desk: JobDesk) -> None:
        await gate.wait()

    job = await lab.ask("/media/a")
    async with lab.docks(work):
        await lab.until(job.job_id, pb.JOB_STATE_RUNNING)
        waiting = asyncio.create_task(lab.look(job.job_id, 25_000))
        gate.set()
        assert (await asyncio.wait_for(waiting, SECONDS)).state in {
            pb.JOB_STATE_RUNNING,
            pb.JOB_STATE_DONE,
        }
        await lab.until(job.job_id, pb.JOB_STATE_DONE)
