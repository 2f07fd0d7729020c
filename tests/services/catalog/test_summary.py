"""GetSummary: sums that are kept, not counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.catalog_site import Catalog, Held, Made, running
from support.eventually import eventually

from catalog_svc import summing, upkeep
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.messages import timestamp

AVAILABLE, SUSPECT, MISSING = (
    common_pb2.REPLICA_STATE_AVAILABLE,
    common_pb2.REPLICA_STATE_SUSPECT,
    common_pb2.REPLICA_STATE_MISSING,
)
Sums = tuple[int, int, dict[tuple[str, int], tuple[int, int]]]


async def sums(stub: Any) -> Sums:
    answer = await stub.GetSummary(pb.GetSummaryRequest())
    stores = {(each.store, each.state): (each.replica_count, each.size_bytes) for each in answer.stores}
    return answer.dataset_count, answer.size_bytes, stores


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background folds often; before the catalog starts."""
    monkeypatch.setattr(upkeep, "FOLD_SECONDS", 0.02)


async def expect(stub: Any, wanted: Sums) -> None:
    async def right() -> bool:
        found = await sums(stub)
        assert found == wanted
        return True

    await eventually(right)


async def test_sums_follow_what_happens(quick: None, catalog: Catalog) -> None:
    assert await sums(catalog.stub) == (0, 0, {})
    small, big = Made("a/1", size=10), Made("b/1", size=1000)
    await catalog.publish(small, big)
    # What other sites hold is not summed here.
    await catalog.record(Held(small).record())
    await expect(catalog.stub, (2, 1010, {("main", AVAILABLE): (2, 1010)}))
    await catalog.register([Made("b/1")], store="disk")
    await catalog.update(pb.ReplicaUpdate(uid=small.uid, store="main", state=SUSPECT))
    both = {("disk", AVAILABLE): (1, 1000), ("main", AVAILABLE): (1, 1000), ("main", SUSPECT): (1, 10)}
    await expect(catalog.stub, (2, 1010, both))
    # One leaves a state as one of another size enters it.
    now = timestamp(catalog.clock.now())
    await catalog.update(
        pb.ReplicaUpdate(uid=small.uid, store="main", state=AVAILABLE, verify_time=now),
        pb.ReplicaUpdate(uid=big.uid, store="main", state=SUSPECT),
    )
    swapped = {("disk", AVAILABLE): (1, 1000), ("main", AVAILABLE): (1, 10), ("main", SUSPECT): (1, 1000)}
    await expect(catalog.stub, (2, 1010, swapped))


async def test_sums_say_when_they_were_taken(quick: None, catalog: Catalog) -> None:
    await catalog.publish(Made("a"))
    catalog.advance(3600)

    async def taken_now() -> bool:
        answer = await catalog.stub.GetSummary(pb.GetSummaryRequest())
        return answer.time == timestamp(catalog.clock.now())

    await eventually(taken_now)


async def test_sums_are_right_after_a_restart(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as catalog:
        await catalog.publish(Made("a", size=5))
    async with running(database_dsn, tmp_path) as catalog:
        await expect(catalog.stub, (1, 5, {("main", AVAILABLE): (1, 5)}))


async def test_a_limited_token_counts_only_its_own(quick: None, catalog: Catalog) -> None:
    await catalog.publish(Made("satp3/1", size=3), Made("satp3/x/2", size=4), Made("satp30/1"), Made("lat/1"))
    client = await catalog.as_client(prefix="satp3/**")
    # Right the first time, although nobody has counted it before.
    assert await sums(client) == (2, 7, {("main", AVAILABLE): (2, 7)})
    await catalog.publish(Made("satp3/9", size=100), Made("lat/9", size=1000))
    await expect(client, (3, 107, {("main", AVAILABLE): (3, 107)}))
    wild = await catalog.as_client(prefix="*/1")
    assert (await sums(wild))[:2] == (3, 23)


async def test_folding_in_small_steps_and_by_several_at_once(
    quick: None, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    monkeypatch.setattr(summing, "_STEP_EVENTS", 7)
    clients = [await catalog.as_client(prefix=prefix) for prefix in ("n/**", "n/1*", "**")]
    await asyncio.gather(
        *(
            catalog.publish(*(Made(f"n/{batch}{number}", size=1) for number in range(10)))
            for batch in range(8)
        ),
        *(sums(client) for client in clients),
    )
    await expect(catalog.stub, (80, 80, {("main", AVAILABLE): (80, 80)}))
    await expect(clients[0], (80, 80, {("main", AVAILABLE): (80, 80)}))
    await expect(clients[1], (10, 10, {("main", AVAILABLE): (10, 10)}))
    await expect(clients[2], (80, 80, {("main", AVAILABLE): (80, 80)}))
