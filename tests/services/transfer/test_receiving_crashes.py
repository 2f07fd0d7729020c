"""The receiver is killed at its 1st, 2nd, 3rd … step: every dataset ends with one receipt or one reason."""

from __future__ import annotations

import asyncio

import pytest
from support.eventually import eventually
from transfer_lab.bringers import Bringer, Elsewhere, as_peer, bringing, new_uid, tell_peers
from transfer_lab.processes import Supervised, insist, plan_fault, supervised, write_settings
from transfer_lab.rig import Rig
from transfer_lab.store import file_content, tree_content

from librarian.api.federation.v1 import federation_pb2 as pb

HELLO, OTHER, BOOK = file_content(b"hello"), file_content(b"other"), tree_content({"a": b"1", "b/c": b"2"})
RECEIPTED, FAILED = pb.DELIVERY_STATE_RECEIPTED, pb.DELIVERY_STATE_FAILED
LEASE = {"lease_seconds": 0.6, "poll_seconds": 0.3}
# No scenario has more failpoints than this.
MANY = 60


async def scenario(bringer: Bringer, chile: Elsewhere, prefix: str) -> None:
    """A file, a book, what is here, what lies there uncatalogued, bad bytes, a name that is taken, and one
    given up; every message said until it is answered.
    """
    rig = bringer.rig
    here = rig.catalog.add(f"{prefix}/here", HELLO.digest.value, store="slow", uid=new_uid(), size=5)
    rig.catalog.add(f"{prefix}/taken", OTHER.digest.value, store="slow", uid=new_uid(), size=5)
    rig.stores.adoptable["fast", f"{prefix}/lying"] = BOOK
    file, book, bad, gone = (
        chile.item(f"{prefix}/{name}", content)
        for name, content in (("file", HELLO), ("book", BOOK), ("bad", HELLO), ("gone", HELLO))
    )
    known = chile.item(f"{prefix}/here", HELLO, uid=here.uid)
    taken = chile.item(f"{prefix}/taken", HELLO)
    lying = chile.item(f"{prefix}/lying", BOOK)
    items = [file, book, bad, gone, known, taken, lying]
    batch = new_uid()
    offered = await insist(lambda: bringer.offer(*items, batch_id=batch))
    verdicts = dict(zip([item.uid for item in items], offered[1].verdicts, strict=True))
    assert bringer.receipt(verdicts[known.uid].receipt).store == "slow"
    assert verdicts[taken.uid].error.reason == "NAME_TAKEN"
    # Said again after a death, it may have been read meanwhile.
    assert verdicts[lying.uid].HasField("receipt") or verdicts[lying.uid].error.reason == "UNAVAILABLE"
    for item, content in ((file, HELLO), (book, BOOK), (bad, OTHER)):
        rig.stores.bring(verdicts[item.uid].send.upload_id, content)
    withdraw = pb.WithdrawRequest(batch_id=batch, uids=[gone.uid])
    await insist(lambda: bringer.stub.Withdraw(withdraw))
    await insist(lambda: bringer.deliver(batch, file.uid, book.uid, bad.uid))
    ended = await insist(lambda: bringer.ended(batch, seconds=30.0))
    assert {item.name.rpartition("/")[2]: ended[item.uid].state for item in items} == {
        "file": RECEIPTED,
        "book": RECEIPTED,
        "bad": FAILED,
        "gone": pb.DELIVERY_STATE_EXPIRED,
        "here": RECEIPTED,
        "taken": pb.DELIVERY_STATE_REFUSED,
        "lying": RECEIPTED,
    }
    for item in (file, book, lying):
        receipt = bringer.receipt(ended[item.uid].receipt)
        assert (receipt.uid, receipt.digest) == (item.uid, item.digest)
        assert rig.catalog.live[item.name].uid == item.uid


async def check_nothing_left(rig: Rig) -> None:
    await rig.all_settled()
    assert rig.stores.strays() == []
    assert [space.reserved for space in rig.stores.spaces.values()] == [0, 0]


async def die_everywhere(rig: Rig, bringer: Bringer, service: str, victim: Supervised) -> int:
    """The scenario again and again, each time with death one step later, until it is not met any more."""
    chile = Elsewhere("chile")
    await insist(lambda: tell_peers(rig, chile))
    for step in range(1, MANY):
        file = plan_fault(rig, service, kill_at=step)
        deaths = victim.deaths
        await scenario(bringer, chile, f"step{step:02}")
        await check_nothing_left(rig)
        if file.exists():
            file.unlink()
            return step - 1
        # Whoever waits for the process hears of its end a moment later.
        await eventually(lambda died=deaths + 1: victim.deaths == died)
    raise AssertionError(f"more than {MANY} failpoints")


async def test_the_service_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with (
        rig.worker(),
        supervised("transfer", config) as victim,
        bringing(rig, as_peer("chile")) as bringer,
    ):
        assert await die_everywhere(rig, bringer, "transfer", victim) >= 6


# A minute or two: `make test` kills whole sites instead, at a choice of places (tests/e2e).
@pytest.mark.slow
async def test_the_worker_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with (
        rig.transfer(),
        supervised("worker", config) as victim,
        bringing(rig, as_peer("chile")) as bringer,
    ):
        assert await die_everywhere(rig, bringer, "worker", victim) >= 10


async def test_the_worker_is_killed_while_it_expires(rig: Rig) -> None:
    """Its delivery has expired by then, and its ingest has not: the other points are those of any ingest."""
    config = write_settings(rig, worker=LEASE, transfer={"ingest_lifetime_seconds": 1})
    chile = Elsewhere("chile")
    item = chile.item("obs/1", HELLO)
    async with supervised("transfer", config), bringing(rig, as_peer("chile")) as bringer:
        await insist(lambda: tell_peers(rig, chile))
        batch, _ = await bringer.offer(item)
        file = plan_fault(rig, "worker", kill_on="expire.deliveries_told")
        async with supervised("worker", config) as victim:
            await check_nothing_left(rig)
            ended = (await bringer.ended(batch))[item.uid]
            assert (ended.state, ended.error.reason) == (pb.DELIVERY_STATE_EXPIRED, "WITHDRAWN")
            await eventually(lambda: not file.exists(), what="it was met")
            await eventually(lambda: victim.deaths == 1)


async def test_the_failpoints_have_names(rig: Rig) -> None:
    """The list crash tests elsewhere may kill by."""
    config = write_settings(rig, worker=LEASE)
    trace = rig.directory / "trace"
    for service in ("transfer", "worker"):
        plan_fault(rig, service, trace=str(trace))
    chile = Elsewhere("chile")
    async with (
        supervised("transfer", config),
        supervised("worker", config),
        bringing(rig, as_peer("chile")) as bringer,
    ):
        await insist(lambda: tell_peers(rig, chile))
        await scenario(bringer, chile, "traced")
        await check_nothing_left(rig)
    passed = set((await asyncio.to_thread(trace.read_text)).split())
    assert {
        "offer.decided",
        "offer.written",
        "offer.errors_written",
        "withdraw.written",
        "deliver.handed_over",
        "adopt.answered",
        "adopt.outcomes_written",
        "receipt.signed",
        "receipt.written",
    } <= passed
