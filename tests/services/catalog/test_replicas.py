"""UpdateReplicas: what stores say about copies."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from support.catalog_site import Catalog, Made

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import BatchTooLarge, RequestIdReused
from librarian.messages import timestamp

AVAILABLE, SUSPECT, CORRUPT, MISSING, REMOVING = (
    common_pb2.REPLICA_STATE_AVAILABLE,
    common_pb2.REPLICA_STATE_SUSPECT,
    common_pb2.REPLICA_STATE_CORRUPT,
    common_pb2.REPLICA_STATE_MISSING,
    common_pb2.REPLICA_STATE_REMOVING,
)


def update(
    made: Made, state: int, *, reason: str = "", verified: datetime | None = None, store: str = "main"
) -> pb.ReplicaUpdate:
    return pb.ReplicaUpdate(
        uid=made.uid,
        store=store,
        state=state,
        state_reason=reason,
        verify_time=timestamp(verified) if verified else None,
    )


async def replica_of(catalog: Catalog, made: Made, store: str = "main") -> pb.Replica:
    return next(each for each in (await catalog.get(made.name)).replicas if each.store == store)


async def test_a_flipped_bit_is_suspect_then_corrupt_and_says_where(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    assert not await catalog.update(
        update(one, SUSPECT, reason="member x: size differs"),
        update(one, CORRUPT, reason="member x: checksum differs"),
    )
    replica = await replica_of(catalog, one)
    assert (replica.state, replica.state_reason) == (CORRUPT, "member x: checksum differs")
    first, second = (await catalog.events())[1:]
    assert first.type == second.type == "REPLICA_STATE_CHANGED"
    assert '"previous_state": "AVAILABLE"' in first.details_json
    assert '"state": "CORRUPT"' in second.details_json
    assert "checksum differs" in second.details_json


async def test_an_illegal_move_refuses_that_item_alone(catalog: Catalog) -> None:
    one, two = Made("a/1"), Made("a/2")
    await catalog.publish(one, two)
    now = catalog.clock.now()
    verdicts = await catalog.update(
        update(one, CORRUPT),
        update(two, MISSING),
        update(one, AVAILABLE),
        update(one, REMOVING),
        update(Made("ghost"), MISSING),
        update(one, MISSING, store="elsewhere"),
        update(one, MISSING, store="No Store"),
        update(two, AVAILABLE, verified=now),
        update(one, SUSPECT, reason="nul\0"),
    )
    assert {each.index: each.error.reason for each in verdicts} == {
        0: "ILLEGAL_TRANSITION",
        2: "ILLEGAL_TRANSITION",
        3: "ILLEGAL_TRANSITION",
        4: "DATASET_NOT_FOUND",
        5: "REPLICA_NOT_FOUND",
        6: "INVALID_STORE",
        8: "INVALID_INPUT",
    }
    assert (await replica_of(catalog, one)).state == AVAILABLE
    assert (await replica_of(catalog, two)).state == AVAILABLE
    assert [event.dataset_name for event in await catalog.events()][2:] == ["a/2", "a/2"]


async def test_a_full_read_is_remembered_and_logged(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    catalog.advance(60)
    later = catalog.clock.now()
    assert not await catalog.update(update(one, AVAILABLE, verified=later))
    replica = await replica_of(catalog, one)
    assert replica.verify_time == replica.update_time == timestamp(later)
    assert (await catalog.events())[-1].type == "REPLICA_VERIFIED"
    # An older one that comes late does not turn time back, and is no news.
    assert not await catalog.update(update(one, AVAILABLE, verified=later - timedelta(hours=1)))
    assert (await replica_of(catalog, one)).verify_time == timestamp(later)
    assert len(await catalog.events()) == 2


async def test_a_copy_found_on_another_store_becomes_a_replica(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    verified = catalog.clock.now()
    assert not await catalog.update(
        update(one, AVAILABLE, verified=verified, store="disk"), update(one, SUSPECT, store="disk")
    )
    assert (await replica_of(catalog, one, "disk")).state == SUSPECT
    assert [event.type for event in await catalog.events()][1:] == ["REPLICA_ADDED", "REPLICA_STATE_CHANGED"]


async def test_the_same_report_again_is_no_news(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    for _ in range(2):
        assert not await catalog.update(update(one, MISSING, reason="not there"))
    assert len(await catalog.events()) == 2


async def test_the_same_request_again_is_not_done_twice(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    bad = update(one, CORRUPT)
    request = pb.UpdateReplicasRequest(request_id=catalog.new_id(), updates=[bad, update(one, SUSPECT)])
    first = await catalog.stub.UpdateReplicas(request)
    assert await catalog.stub.UpdateReplicas(request) == first
    request.updates.append(bad)
    with pytest.raises(RequestIdReused):
        await catalog.stub.UpdateReplicas(request)


async def test_reports_at_once_are_applied_one_after_the_other(catalog: Catalog) -> None:
    made = [Made(f"n/{number}") for number in range(50)]
    await catalog.publish(*made)
    now = catalog.clock.now()
    await asyncio.gather(
        *(
            catalog.update(*(update(each, SUSPECT, reason=f"by {number}") for each in order))
            for number, order in enumerate((made, made[::-1], made[25:] + made[:25]))
        ),
        catalog.update(*(update(each, AVAILABLE, verified=now, store="disk") for each in made)),
        catalog.update(*(update(each, AVAILABLE, verified=now, store="disk") for each in made[::-1])),
    )
    events = await catalog.events()
    assert [event.cursor.sequence for event in events] == list(range(1, len(events) + 1))
    assert sum(event.type == "REPLICA_ADDED" for event in events) == 50
    assert (await replica_of(catalog, made[7])).state == SUSPECT


async def test_a_batch_of_updates_is_bounded(catalog: Catalog) -> None:
    with pytest.raises(BatchTooLarge):
        await catalog.update(*(update(Made("x"), MISSING) for _ in range(5001)))
