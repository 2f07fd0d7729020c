"""Promise 1 for this part: killed at the 1st, 2nd, 3rd … failpoint, and every time it ends in one outcome."""

from __future__ import annotations

import asyncio

from support.eventually import eventually
from transfer_lab.processes import Supervised, plan_fault, supervised, write_settings
from transfer_lab.rig import Client, Rig, new_id
from transfer_lab.store import Content, file_content, tree_content

from librarian import errors
from librarian.api.transfer.v1 import transfer_pb2 as pb

PUBLISHED, FAILED = pb.INGEST_STATE_PUBLISHED, pb.INGEST_STATE_FAILED
HELLO, OTHER, BOOK = file_content(b"hello"), file_content(b"other"), tree_content({"a": b"1", "b/c": b"2"})
LEASE = {"lease_seconds": 0.6, "poll_seconds": 0.3}
# No scenario has more failpoints than this.
MANY = 60


async def insist(call: object) -> object:
    """What a client does whose service is being restarted: the same request again."""
    for _ in range(100):
        try:
            return await call()  # type: ignore[operator]
        except (errors.Unavailable, errors.DeadlineExceeded, errors.Cancelled):
            await asyncio.sleep(0.05)
    raise AssertionError("the service did not come back")


async def scenario(client: Client, prefix: str) -> None:
    """A file, a book, a name put twice with the same and once with other bytes; every request insisted on."""
    wanted: list[tuple[str, Content]] = [
        (f"{prefix}/file", HELLO),
        (f"{prefix}/book", BOOK),
        (f"{prefix}/twin", HELLO),
        (f"{prefix}/twin", HELLO),
        (f"{prefix}/twin", OTHER),
    ]
    kinds = [2 if content.members else 1 for _, content in wanted]
    begin = pb.BeginIngestsRequest(
        request_id=new_id(),
        items=[
            pb.IngestSpec(name=name, kind=kind, size_bytes=content.size_bytes)  # type: ignore[arg-type]
            for (name, content), kind in zip(wanted, kinds, strict=True)
        ],
    )
    begun = await insist(lambda: client.stub.BeginIngests(begin))
    uids = [verdict.open.ingest_id for verdict in begun.verdicts]  # type: ignore[attr-defined]
    for uid, (_, content) in zip(uids, wanted, strict=True):
        client.rig.stores.bring(uid, content)
    claims = [(uid, content) for uid, (_, content) in zip(uids, wanted, strict=True)]
    await insist(lambda: client.commit(*claims))
    ended: dict[str, pb.Ingest] = {}

    async def all_ended() -> bool:
        left = [uid for uid in uids if uid not in ended]
        request = pb.WaitIngestsRequest(ingest_ids=left, timeout_ms=1000)
        response = await insist(lambda: client.stub.WaitIngests(request))
        for verdict in response.verdicts:  # type: ignore[attr-defined]
            if verdict.ingest.state in {PUBLISHED, FAILED}:
                ended[verdict.ingest.ingest_id] = verdict.ingest
        return len(ended) == len(uids)

    await eventually(all_ended, timeout=30.0, what=f"{prefix} has ended")
    assert [ended[uid].state for uid in uids[:2]] == [PUBLISHED, PUBLISHED]
    check_twins(client.rig, prefix, [ended[uid] for uid in uids[2:]])


def check_twins(rig: Rig, prefix: str, twins: list[pb.Ingest]) -> None:
    """Whoever was first: those with its bytes succeeded, the others were refused."""
    live = rig.catalog.live[f"{prefix}/twin"]
    for twin, content in zip(twins, (HELLO, HELLO, OTHER), strict=True):
        if content.digest.value == live.digest.value:
            assert (twin.state, twin.dataset_uid) == (PUBLISHED, live.uid)
        else:
            assert twin.state == FAILED
            assert twin.error.reason in {"NAME_TAKEN", "PATH_TAKEN"}


async def check_nothing_left(rig: Rig) -> None:
    await rig.all_settled(timeout=30.0)
    assert rig.stores.strays() == []
    assert [space.reserved for space in rig.stores.spaces.values()] == [0, 0]
    assert sorted(rig.stores.paths.values()) == sorted(dataset.uid for dataset in rig.catalog.live.values())
    for name, dataset in rig.catalog.live.items():
        assert rig.stores.uploads[dataset.uid].spec.name == name


async def die_everywhere(rig: Rig, client: Client, service: str, victim: Supervised) -> int:
    """The scenario again and again, each time with death one step later, until it is not met any more."""
    for step in range(1, MANY):
        file = plan_fault(rig, service, kill_at=step)
        deaths = victim.deaths
        await scenario(client, f"step{step:02}")
        await check_nothing_left(rig)
        if file.exists():
            file.unlink()
            return step - 1
        assert victim.deaths == deaths + 1, "it died once, and did not forget to be restarted"
    raise AssertionError(f"more than {MANY} failpoints")


async def test_the_service_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with rig.worker(), supervised("transfer", config) as victim, rig.client() as client:
        assert await die_everywhere(rig, client, "transfer", victim) >= 6


async def test_the_worker_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with rig.transfer(), supervised("worker", config) as victim, rig.client() as client:
        assert await die_everywhere(rig, client, "worker", victim) >= 8


async def test_every_failpoint_has_its_name_once(rig: Rig) -> None:
    """What a run passes, in order: the list crash tests elsewhere may kill by."""
    config = write_settings(rig, worker=LEASE)
    trace = rig.directory / "trace"
    plan_fault(rig, "transfer", trace=str(trace))
    plan_fault(rig, "worker", trace=str(trace))
    async with supervised("transfer", config), supervised("worker", config), rig.client() as client:
        await insist(lambda: client.stub.ListIngests(pb.ListIngestsRequest()))
        await scenario(client, "traced")
        await check_nothing_left(rig)
    passed = set((await asyncio.to_thread(trace.read_text)).split())
    assert {
        "begin.written",
        "begin.names_asked",
        "begin.placed",
        "begin.stores_told",
        "commit.begin",
        "commit.written",
        "commit.committed",
        "worker.claimed",
        "store.origins_kept",
        "store.commit_answered",
        "store.outcomes_written",
        "publish.members_sent",
        "publish.answered",
        "publish.outcomes_written",
        "settle.store_told",
        "settle.written",
    } <= passed
