"""RegisterDatasets: a stream of batches of data that already lies on a store."""

from __future__ import annotations

import asyncio

import pytest
from support.catalog_site import DIRECTORY, Catalog, Made, columns, member

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import RequestIdReused

ALREADY, REFUSED = pb.PUBLISH_OUTCOME_ALREADY_THERE, pb.PUBLISH_OUTCOME_REFUSED


async def stores_of(catalog: Catalog, name: str) -> dict[str, int]:
    return {replica.store: replica.state for replica in (await catalog.get(name)).replicas}


async def test_batches_are_answered_in_order(catalog: Catalog) -> None:
    batches = [[Made(f"r/{batch}/{number}") for number in range(50)] for batch in range(6)]
    ids = [catalog.new_id() for _ in batches]
    answers = await catalog.register(*batches, request_ids=ids)
    assert [answer.request_id for answer in answers] == ids
    assert [answer.published_count for answer in answers] == [50] * 6
    assert not any(answer.verdicts for answer in answers)
    assert len(await catalog.events()) == 300


async def test_repeating_the_stream_is_safe(catalog: Catalog) -> None:
    batches = [[Made(f"r/{batch}/{number}") for number in range(10)] for batch in range(3)]
    ids = [catalog.new_id() for _ in batches]
    first = await catalog.register(*batches, request_ids=ids)
    assert await catalog.register(*batches, request_ids=ids) == first
    # A new run of `register` over the same tree: new uids, new request ids.
    again = await catalog.register([Made(made.name) for batch in batches for made in batch])
    assert again[0].published_count == 0
    assert {verdict.outcome for verdict in again[0].verdicts} == {ALREADY}
    assert len(await catalog.events()) == 30


async def test_data_that_is_known_gains_the_replica(catalog: Catalog) -> None:
    original = Made("a/b")
    await catalog.publish(original)
    (answer,) = await catalog.register([Made("a/b"), Made("a/b", content="other")], store="disk")
    assert answer.published_count == 0
    assert [(each.outcome, each.error.reason) for each in answer.verdicts] == [
        (ALREADY, ""),
        (REFUSED, "NAME_TAKEN"),
    ]
    assert answer.verdicts[0].uid == original.uid
    available = common_pb2.REPLICA_STATE_AVAILABLE
    assert await stores_of(catalog, "a/b") == {"disk": available, "main": available}
    assert [event.type for event in await catalog.events()] == ["DATASET_PUBLISHED", "REPLICA_ADDED"]


async def test_registering_bytes_again_heals_a_lost_replica(catalog: Catalog) -> None:
    original = Made("a/b")
    await catalog.publish(original)
    lost = pb.ReplicaUpdate(uid=original.uid, store="main", state=common_pb2.REPLICA_STATE_MISSING)
    assert not await catalog.update(lost)
    await catalog.register([Made("a/b")])
    assert await stores_of(catalog, "a/b") == {"main": common_pb2.REPLICA_STATE_AVAILABLE}
    assert [event.type for event in await catalog.events()][1:] == ["REPLICA_STATE_CHANGED"] * 2


async def test_only_what_was_not_published_is_told_one_by_one(catalog: Catalog) -> None:
    (answer,) = await catalog.register(
        [Made("x"), Made("x/y"), Made("a//b"), Made("z"), Made("d", kind=DIRECTORY, members=1)]
    )
    assert answer.published_count == 2
    assert [(each.index, each.error.reason) for each in answer.verdicts] == [
        (1, "NAME_IS_PREFIX"),
        (2, "INVALID_NAME"),
        (4, "MEMBERS_INCOMPLETE"),
    ]


async def test_directories_come_with_their_members(catalog: Catalog) -> None:
    book = Made("d", kind=DIRECTORY, members=1)
    await catalog.add_members(book.uid, [member("a")])
    (answer,) = await catalog.register([book, Made("empty", kind=DIRECTORY, members=0)])
    assert answer.published_count == 2


async def test_a_client_may_wait_for_each_answer_before_it_sends_on(catalog: Catalog) -> None:
    answered = asyncio.Event()

    async def one_by_one() -> object:
        for number in range(3):
            yield pb.RegisterDatasetsRequest(
                request_id=catalog.new_id(), datasets=columns([Made(f"p/{number}")]), store="main"
            )
            await asyncio.wait_for(answered.wait(), 10)
            answered.clear()

    count = 0
    async for answer in catalog.stub.RegisterDatasets(one_by_one()):
        count += answer.published_count
        answered.set()
    assert count == 3


async def test_streams_at_once_register_each_name_once(catalog: Catalog) -> None:
    names = [f"r/{number:04}" for number in range(400)]
    streams = [[names[start : start + 100] for start in range(0, 400, 100)] for _ in range(4)]
    answers = await asyncio.gather(
        *(catalog.register(*([Made(name) for name in batch] for batch in stream)) for stream in streams)
    )
    flat = [answer for stream in answers for answer in stream]
    assert sum(answer.published_count for answer in flat) == 400
    assert sum(len(answer.verdicts) for answer in flat) == 1200
    assert {verdict.outcome for answer in flat for verdict in answer.verdicts} == {ALREADY}


async def test_what_is_wrong_with_a_whole_batch_ends_the_stream(catalog: Catalog) -> None:
    request_id = catalog.new_id()
    await catalog.register([Made("a")], request_ids=[request_id])
    with pytest.raises(RequestIdReused):
        await catalog.register([Made("b")], [Made("c")], request_ids=[catalog.new_id(), request_id])
    # The batch before it may have been done, and can be sent again.
    (answer,) = await catalog.register([Made("b")])
    assert answer.published_count + len(answer.verdicts) == 1
