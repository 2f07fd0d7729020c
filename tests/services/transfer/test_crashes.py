"""Promise 1 for this part: killed at the 1st, 2nd, 3rd … failpoint, and every time it ends in one outcome."""

from __future__ import annotations

import asyncio

import pytest
from support.eventually import eventually
from transfer_lab.processes import Supervised, insist, plan_fault, supervised, write_settings
from transfer_lab.rig import Client, Rig, new_id
from transfer_lab.store import Content, file_content, tree_content

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import Caller, Role

PUBLISHED, FAILED = pb.INGEST_STATE_PUBLISHED, pb.INGEST_STATE_FAILED
HELLO, OTHER, BOOK = file_content(b"hello"), file_content(b"other"), tree_content({"a": b"1", "b/c": b"2"})
OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")
LEASE = {"lease_seconds": 0.6, "poll_seconds": 0.3}
# No scenario has more failpoints than this.
MANY = 60


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
    uids = [verdict.open.ingest_id for verdict in begun.verdicts]
    for uid, (_, content) in zip(uids, wanted, strict=True):
        client.rig.stores.bring(uid, content)
    claims = [(uid, content) for uid, (_, content) in zip(uids, wanted, strict=True)]
    await insist(lambda: client.commit(*claims))
    ended: dict[str, pb.Ingest] = {}

    async def all_ended() -> bool:
        left = [uid for uid in uids if uid not in ended]
        request = pb.WaitIngestsRequest(ingest_ids=left, timeout_ms=1000)
        response = await insist(lambda: client.stub.WaitIngests(request))
        for verdict in response.verdicts:
            if verdict.ingest.state in {PUBLISHED, FAILED}:
                ended[verdict.ingest.ingest_id] = verdict.ingest
        return len(ended) == len(uids)

    await eventually(all_ended, what=f"{prefix} has ended")
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
    await rig.all_settled()
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
        # The plan is gone a moment before the death is counted.
        await eventually(lambda: victim.deaths == deaths + 1, what="its death is counted")  # noqa: B023
    raise AssertionError(f"more than {MANY} failpoints")


async def test_the_service_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with rig.worker(), supervised("transfer", config) as victim, rig.client() as client:
        assert await die_everywhere(rig, client, "transfer", victim) >= 6


async def test_the_worker_is_killed_at_every_step(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with rig.transfer(), supervised("worker", config) as victim, rig.client() as client:
        assert await die_everywhere(rig, client, "worker", victim) >= 8


@pytest.mark.parametrize("point", ["worker.claimed", "expire.store_told", "expire.written"])
async def test_the_worker_is_killed_while_it_expires(rig: Rig, point: str) -> None:
    lifetime = {"ingest_lifetime_seconds": 1}
    config = write_settings(rig, worker=LEASE, transfer=lifetime)
    async with supervised("transfer", config), rig.client() as client:
        begin = pb.BeginIngestsRequest(
            request_id=new_id(), items=[pb.IngestSpec(name="n", kind=1, size_bytes=5)]
        )
        begun = await insist(lambda: client.stub.BeginIngests(begin))
        uid = begun.verdicts[0].open.ingest_id
        file = plan_fault(rig, "worker", kill_on=point)
        async with supervised("worker", config) as victim:
            await check_nothing_left(rig)
            assert (await client.get(uid)).state == pb.INGEST_STATE_EXPIRED
            await eventually(lambda: not file.exists(), what="it was met")
            await eventually(lambda: victim.deaths == 1)


@pytest.mark.parametrize("point", ["abort.committed", "settle.store_told", "settle.written"])
async def test_killed_while_an_ingest_is_given_up(rig: Rig, point: str) -> None:
    config = write_settings(rig, worker=LEASE)
    service = "transfer" if point.startswith("abort") else "worker"
    async with supervised("transfer", config), supervised("worker", config), rig.client() as client:
        await insist(lambda: client.stub.ListIngests(pb.ListIngestsRequest()))
        uid = await client.bring("n", HELLO)
        file = plan_fault(rig, service, kill_on=point)
        abort = pb.AbortIngestsRequest(request_id=new_id(), ingest_ids=[uid])
        response = await insist(lambda: client.stub.AbortIngests(abort))
        assert response.verdicts[0].ingest.state == pb.INGEST_STATE_ABORTED
        await check_nothing_left(rig)
        await eventually(lambda: not file.exists(), what="it was met")


@pytest.mark.parametrize("point", ["register.adopted", "register.members_sent", "register.published"])
async def test_the_service_is_killed_while_it_registers(rig: Rig, point: str) -> None:
    for number in range(3):
        rig.stores.adoptable["fast", f"books/{number}"] = BOOK
    config = write_settings(rig)
    async with supervised("transfer", config) as victim, rig.client(OPERATOR) as client:
        plan_fault(rig, "transfer", kill_on=point)

        async def register() -> pb.RegisterTreesResponse:
            request = pb.RegisterTreesRequest(request_id=new_id(), store="fast")
            return [told async for told in client.stub.RegisterTrees(request)][-1]

        last = await insist(register)
        assert victim.deaths == 1
        assert last.registered_count + last.already_count == 3
    assert len(rig.catalog.live) == 3
    assert len(rig.catalog.history) == 3


@pytest.mark.parametrize("point", ["verify.recorded", "verify.suspected"])
async def test_the_service_is_killed_while_it_verifies(rig: Rig, point: str) -> None:
    """Suspected already, the copy is condemned by the one full re-read of the second try."""
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.stores.rotten["u"] = [common_pb2.REPLICA_STATE_CORRUPT] * 5
    config = write_settings(rig)
    async with supervised("transfer", config) as victim, rig.client(OPERATOR) as client:
        plan_fault(rig, "transfer", kill_on=point)

        async def verify() -> pb.VerifyReplicasResponse:
            request = pb.VerifyReplicasRequest(request_id=new_id(), dataset_uid="u")
            return [told async for told in client.stub.VerifyReplicas(request)][-1]

        await insist(verify)
        assert victim.deaths == 1
    assert rig.catalog.state_of("u", "fast") == "CORRUPT"


async def test_told_to_stop_they_stop_in_order(rig: Rig) -> None:
    config = write_settings(rig, worker=LEASE)
    async with (
        supervised("transfer", config) as service,
        supervised("worker", config) as worker,
        rig.client() as client,
    ):
        await insist(lambda: client.stub.ListIngests(pb.ListIngestsRequest()))
        # Both are up and have work to do.
        await scenario(client, "before")
        assert (await worker.stop(), await service.stop()) == (0, 0)


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
