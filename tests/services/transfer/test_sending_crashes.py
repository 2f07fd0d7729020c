"""A worker that sends is killed at each of its steps; nothing is lost, and nothing done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.eventually import eventually
from transfer_lab.processes import plan_fault, supervised, write_settings
from transfer_lab.sender import Sender, open_sender

from librarian import errors

PLANNING = (
    "planner.closed",
    "planner.matched",
    "planner.written",
    "send.claimed",
    "send.offer_kept",
    "send.offer_answered",
    "send.suspects_told",
    "send.receipts_recorded",
    "send.verdicts_written",
)
SENDING = (
    "send.handle_kept",
    "send.mover_started",
    "send.moved",
    "send.deliver_answered",
    "send.delivered_written",
    "send.batch_answered",
    "send.verified_written",
    "send.batch_finished",
    "send.relayed_recorded",
)
# Met now and then, or only after one of the others.
AFTERWARDS = {"planner.advanced", "send.taken_over", "send.caught_up"}
WORKER = {"lease_seconds": 0.5, "poll_seconds": 0.25}


@pytest.fixture
async def sender(directory: Path, database_dsn: str) -> AsyncIterator[Sender]:
    async with open_sender(directory, database_dsn, faults={"file": str(directory / "faults")}) as opened:
        yield opened


async def scenario(sender: Sender, step: str) -> None:
    """One that goes its way, one that is there, one that is refused, one that arrives wrong once."""
    there = sender.receivers["there"]
    names = [f"{step}/{name}" for name in ("good", "there", "taken", "flipped")]
    there.has.add(names[1])
    there.refuses[names[2]] = errors.NameTaken("another has it")
    there.fails[names[3]] = [errors.ChecksumMismatch("other bytes")]
    before = sender.brought()
    for name in names:
        sender.catalog.publish(name)
    states = ("VERIFIED", "PRESENT", "HELD", "VERIFIED")
    await sender.reach(dict(zip(names, states, strict=True)), timeout=40)
    # The wrong one's bytes were thrown away by the receiver.
    assert sender.brought() - before == {names[0]: 1, names[3]: 2}
    assert (there.taken[names[0]], there.taken[names[3]]) == (1, 1)
    for name in names:
        assert (await sender.log(name)).count("PLANNED") == 1

    async def finished() -> bool:
        return not await sender.fetch("SELECT 1 FROM transfer.batches WHERE NOT done")

    await eventually(finished, what="all batches are done")


# A minute or two: `make test` kills whole sites instead, at a choice of places (tests/e2e).
@pytest.mark.slow
@pytest.mark.parametrize("points", [PLANNING, SENDING], ids=["planning", "sending"])
async def test_killed_at_every_step(sender: Sender, points: Sequence[str]) -> None:
    config = write_settings(sender, worker=WORKER)
    fault, trace = sender.directory / "faults.worker", sender.directory / "trace"
    await sender.route()
    async with supervised("carrying", config) as victim:
        for count, point in enumerate(points, start=1):
            plan_fault(sender, "worker", kill_on=point, trace=str(trace))
            await scenario(sender, point)
            await eventually(lambda: not fault.exists(), what=f"{point} is met")
            await eventually(lambda count=count: victim.deaths == count, what="it is dead")
        plan_fault(sender, "worker", trace=str(trace))
        await scenario(sender, "last")
    assert set(trace.read_text().split()) <= {*PLANNING, *SENDING, *AFTERWARDS, "worker.claimed"}
    transfers = await sender.fetch("SELECT count(*) FROM transfer.transfers")
    assert transfers == [{"count": 4 * (len(points) + 1)}]


@pytest.mark.parametrize("point", ["planner.page_matched", "planner.page_written"])
async def test_killed_in_the_middle_of_a_backfill(sender: Sender, point: str) -> None:
    for i in range(8):
        sender.catalog.publish(f"old/{i}").publish_time.FromSeconds(1_000_000_000)
    sender.catalog.events.clear()
    config = write_settings(sender, worker=WORKER)
    fault = sender.directory / "faults.worker"
    plan_fault(sender, "worker", kill_on=point, nth=2)
    await sender.route(backfill=True)
    async with supervised("carrying", config) as victim:
        await sender.reach({f"old/{i}": "VERIFIED" for i in range(8)}, timeout=30)
        await eventually(lambda: victim.deaths == 1 and not fault.exists())
    assert set(sender.brought().values()) == {1}
    assert len(await sender.fetch("SELECT 1 FROM transfer.transfers")) == 8
