"""VerifyReplicas and ScanStore."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest
from transfer_lab.rig import Client, Rig, new_id
from transfer_lab.store import Upload

from librarian import errors
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import Caller, Role

OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")
AVAILABLE = common_pb2.REPLICA_STATE_AVAILABLE
SUSPECT = common_pb2.REPLICA_STATE_SUSPECT
CORRUPT = common_pb2.REPLICA_STATE_CORRUPT
MISSING = common_pb2.REPLICA_STATE_MISSING


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with rig.transfer(), rig.client(OPERATOR) as client:
        yield client


async def check(client: Client, **fields: str) -> list[pb.VerifyReplicasResponse]:
    request = pb.VerifyReplicasRequest(request_id=new_id(), **fields)  # type: ignore[arg-type]
    return [told async for told in client.stub.VerifyReplicas(request)]


def reports(answers: list[pb.VerifyReplicasResponse]) -> list[tuple[str, int]]:
    return [(told.name, told.report.state) for told in answers if told.HasField("report")]


def states(rig: Rig, uid: str) -> list[int]:
    """What the catalogue was told of a copy, in order, after its birth."""
    return [state for found, _, state, _ in rig.catalog.history if found == uid][1:]


async def test_a_good_copy(rig: Rig, client: Client) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u", size=100)
    answers = await check(client, dataset_uid="u")
    assert reports(answers) == [("n", AVAILABLE)]
    assert answers[-1].done
    assert answers[-1].verified_bytes == answers[-1].total_bytes == 100
    assert states(rig, "u") == [AVAILABLE]


async def test_a_rotten_copy_is_suspect_then_corrupt_and_says_where(rig: Rig, client: Client) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.stores.rotten["u"] = [CORRUPT, CORRUPT]
    answers = await check(client, dataset_uid="u")
    assert reports(answers) == [("n", CORRUPT)]
    assert states(rig, "u") == [SUSPECT, CORRUPT]
    reason = rig.catalog.replicas["u", "fast"].state_reason
    assert reason == "CHANGED: b/c.dat at /root/x/b/c.dat, and 1 more"
    (told,) = [told for told in answers if told.HasField("report")]
    assert told.report.findings[0].path == "b/c.dat"


async def test_a_misread_is_forgiven_by_the_second_read(rig: Rig, client: Client) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.stores.rotten["u"] = [CORRUPT, AVAILABLE]
    assert reports(await check(client, dataset_uid="u")) == [("n", AVAILABLE)]
    assert states(rig, "u") == [SUSPECT, AVAILABLE]
    assert not rig.catalog.replicas["u", "fast"].state_reason


async def test_a_suspect_needs_only_one_more_read(rig: Rig, client: Client) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.catalog.replicas["u", "fast"].state = SUSPECT
    rig.stores.rotten["u"] = [CORRUPT]
    await check(client, dataset_uid="u")
    assert states(rig, "u") == [CORRUPT]
    assert rig.stores.trouble.calls["VerifyReplica"] == 1


@pytest.mark.parametrize("lost", [MISSING, errors.ReplicaNotFound("not held")])
async def test_a_copy_that_is_not_there(rig: Rig, client: Client, lost: object) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.stores.rotten["u"] = [lost]
    assert reports(await check(client, dataset_uid="u")) == [("n", MISSING)]
    assert states(rig, "u") == [MISSING]


async def test_every_copy_of_a_dataset_though_one_store_is_off(rig: Rig, client: Client) -> None:
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    rig.catalog._set_replica("u", "slow", AVAILABLE, "")
    rig.stores.rotten["u"] = [errors.StoreDisabled("off"), AVAILABLE]
    request = pb.VerifyReplicasRequest(request_id=new_id(), dataset_uid="u")
    answers: list[pb.VerifyReplicasResponse] = []

    async def read() -> None:
        async for told in client.stub.VerifyReplicas(request):
            answers.append(told)  # noqa: PERF401 - kept although it breaks

    with pytest.raises(errors.StoreDisabled):
        await read()
    assert reports(answers) == [("n", AVAILABLE)]


async def test_a_whole_store_in_the_order_of_names(rig: Rig, client: Client) -> None:
    for number in range(8):
        rig.catalog.add(f"n/{number}", b"x" * 32, store="fast", uid=f"u{number}", size=10)
    rig.catalog.add("elsewhere", b"x" * 32, store="slow", uid="e")
    # Known to be in trouble: they are looked at, too.
    rig.catalog.replicas["u3", "fast"].state = SUSPECT
    rig.stores.rotten["u5"] = [CORRUPT, CORRUPT]
    answers = await check(client, store="fast")
    assert [name for name, _ in reports(answers)] == [f"n/{number}" for number in range(8)]
    assert [name for name, state in reports(answers) if state == CORRUPT] == ["n/5"]
    assert answers[-1].verified_bytes == answers[-1].total_bytes == 80
    resumed = await check(client, store="fast", after_uid="u4")
    assert [name for name, _ in reports(resumed)] == ["n/5", "n/6", "n/7"]


async def test_what_cannot_be_verified(rig: Rig, client: Client) -> None:
    with pytest.raises(errors.DatasetNotFound):
        await check(client, dataset_uid="nobody")
    with pytest.raises(errors.InvalidInput):
        await check(client)
    rig.catalog.add("n", b"x" * 32, store="fast", uid="u")
    async with rig.client(dataclasses.replace(OPERATOR, name_prefix="satp3/**")) as narrow:
        with pytest.raises(errors.DatasetNotFound):
            await check(narrow, dataset_uid="u")
        assert reports(await check(narrow, store="fast")) == []
    assert rig.stores.trouble.calls["VerifyReplica"] == 0


async def scan(client: Client, store: str = "fast") -> list[pb.ScanStoreResponse]:
    return [told async for told in client.stub.ScanStore(pb.ScanStoreRequest(store=store))]


async def test_a_scan_tells_and_touches_nothing(rig: Rig, client: Client) -> None:
    rig.catalog.add("held", b"x" * 32, store="fast", uid="h")
    rig.catalog.add("elsewhere", b"x" * 32, store="slow", uid="e")
    # What is not catalogued, and what is on another store only; the last is just being brought.
    for name, uid in {"held": "h", "unknown": "u", "elsewhere": "e", "coming": "c"}.items():
        rig.stores.paths["fast", name] = uid
    rig.stores.uploads["c"] = Upload(store_pb2.UploadSpec(upload_id="c", name="coming"), "fast")
    rig.catalog.add("forgotten", b"x" * 32, store="fast", uid="f")
    rig.catalog.add("dark/known", b"x" * 32, store="slow", uid="d")
    rig.stores.findings = [
        store_pb2.ScanFinding(reason="CHANGED", path="held", uid="h", detail="mtime"),
        store_pb2.ScanFinding(reason="DARK", path="dark/known"),
        store_pb2.ScanFinding(reason="DARK", path="dark/unknown"),
    ]
    before = list(rig.catalog.history)
    answers = await scan(client)
    found = {(each.reason, each.path): each for told in answers for each in told.findings}
    assert set(found) == {
        ("CHANGED", "held"),
        ("DARK", "dark/known"),
        ("DARK", "dark/unknown"),
        ("MISSING", "forgotten"),
        ("UNCATALOGUED", "unknown"),
        ("UNCATALOGUED", "elsewhere"),
    }
    assert "without a copy here" in found["UNCATALOGUED", "elsewhere"].detail
    assert "librarian register" in found["UNCATALOGUED", "unknown"].detail
    assert found["DARK", "dark/known"].detail == "catalogued, on slow"
    assert found["DARK", "dark/known"].uid == "d"
    assert found["MISSING", "forgotten"].uid == "f"
    assert answers[-1].done
    assert answers[-1].scanned_count == 3
    assert rig.catalog.history == before


async def test_a_scan_below_a_prefix_and_of_no_store(rig: Rig, client: Client) -> None:
    rig.stores.findings = [
        store_pb2.ScanFinding(reason="DARK", path="satp1/x"),
        store_pb2.ScanFinding(reason="DARK", path="satp3/x"),
    ]
    async with rig.client(dataclasses.replace(OPERATOR, name_prefix="satp3/**")) as narrow:
        answers = await scan(narrow)
    assert [each.path for told in answers for each in told.findings] == ["satp3/x"]
    with pytest.raises(errors.StoreNotFound):
        await scan(client, "nowhere")
