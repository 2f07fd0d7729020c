"""PublishDatasets: names become datasets, each once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.catalog_site import DIRECTORY, Catalog, Made, columns, member

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import BatchTooLarge, DatasetNotFound, InvalidInput, RequestIdReused, RoleMayNot
from svckit.auth import Role

PUBLISHED, ALREADY, REFUSED = (
    pb.PUBLISH_OUTCOME_PUBLISHED,
    pb.PUBLISH_OUTCOME_ALREADY_THERE,
    pb.PUBLISH_OUTCOME_REFUSED,
)


def outcomes(verdicts: list[pb.PublishVerdict]) -> list[tuple[int, str]]:
    """(outcome, reason) in order; the verdicts name their positions."""
    assert [verdict.index for verdict in verdicts] == list(range(len(verdicts)))
    return [(verdict.outcome, verdict.error.reason) for verdict in verdicts]


async def test_what_is_published_can_be_read_with_replica_and_event(catalog: Catalog) -> None:
    one = Made("satp3/obs/1", tags={"tel": "satp3"}, size=77)
    assert outcomes(await catalog.publish(one)) == [(PUBLISHED, "")]
    dataset = await catalog.get(one.name)
    assert (dataset.uid, dataset.name, dataset.kind) == (one.uid, one.name, one.kind)
    assert (dataset.digest.algorithm, dataset.digest.value) == ("sha256", one.digest)
    assert (dataset.size_bytes, dataset.member_count, dataset.uploader) == (77, 1, "packager")
    assert (dataset.site, dataset.state) == ("chile", pb.DATASET_STATE_LIVE)
    assert dict(dataset.tags) == {"tel": "satp3"}
    assert dataset.origin == one.origin
    assert dataset.create_time.seconds * 1_000_000 == one.created_us
    assert dataset.publish_time.ToDatetime() == catalog.clock.now().replace(tzinfo=None)
    (replica,) = dataset.replicas
    assert (replica.store, replica.state, replica.state_reason) == ("main", 2, "")
    assert replica.verify_time == dataset.publish_time
    (event,) = await catalog.events()
    assert (event.type, event.dataset_uid, event.store) == ("DATASET_PUBLISHED", one.uid, "main")


async def test_the_same_request_again_gets_the_same_answer_and_leaves_no_second_event(
    catalog: Catalog,
) -> None:
    one, request_id = Made("a/b"), catalog.new_id()
    first = await catalog.publish(one, request_id=request_id)
    assert await catalog.publish(one, request_id=request_id) == first
    # Also under another id: this uid is the live dataset.
    assert await catalog.publish(one) == first
    assert len(await catalog.events()) == 1


async def test_a_request_id_is_for_one_request(catalog: Catalog) -> None:
    request_id = catalog.new_id()
    await catalog.publish(Made("a/b"), request_id=request_id)
    with pytest.raises(RequestIdReused):
        await catalog.publish(Made("a/c"), request_id=request_id)
    with pytest.raises(InvalidInput, match="request_id"):
        await catalog.stub.PublishDatasets(pb.PublishDatasetsRequest())


async def test_same_name_same_bytes_is_already_there_and_other_bytes_are_refused(catalog: Catalog) -> None:
    original = Made("a/b")
    await catalog.publish(original)
    again, other = await catalog.publish(Made("a/b", store="disk"), Made("a/b", content="other"))
    assert (again.outcome, again.uid) == (ALREADY, original.uid)
    assert (other.outcome, other.error.reason) == (REFUSED, "NAME_TAKEN")
    assert other.error.metadata["uid"] == original.uid
    assert other.error.metadata["remedy"]
    dataset = await catalog.get("a/b")
    assert (dataset.uid, dataset.digest.value) == (original.uid, original.digest)
    # The loser's bytes are going to be thrown away: they are no replica.
    assert [replica.store for replica in dataset.replicas] == ["main"]


async def test_a_file_and_a_directory_of_one_digest_are_two_things(catalog: Catalog) -> None:
    await catalog.publish(Made("a/b"))
    verdicts = await catalog.publish(Made("a/b", kind=DIRECTORY, members=0))
    assert outcomes(verdicts) == [(REFUSED, "NAME_TAKEN")]


async def test_one_bad_item_does_not_stop_the_others(catalog: Catalog) -> None:
    await catalog.publish(Made("taken"), Made("dir/x"))
    verdicts = await catalog.publish(
        Made("good/1"),
        Made("../bad"),
        Made("taken", content="other"),
        Made("dir"),
        Made("dir/x/y"),
        Made("good/2"),
        Made("sizeless", size=-1),
        Made("books/1", kind=DIRECTORY, members=3),
        Made("good/3", store="disk"),
    )
    assert outcomes(verdicts) == [
        (PUBLISHED, ""),
        (REFUSED, "INVALID_NAME"),
        (REFUSED, "NAME_TAKEN"),
        (REFUSED, "NAME_IS_PREFIX"),
        (REFUSED, "NAME_IS_PREFIX"),
        (PUBLISHED, ""),
        (REFUSED, "INVALID_SIZE"),
        (REFUSED, "MEMBERS_INCOMPLETE"),
        (PUBLISHED, ""),
    ]
    assert [event.dataset_name for event in await catalog.events()][2:] == ["good/1", "good/2", "good/3"]
    assert (await catalog.get("good/3")).replicas[0].store == "disk"
    for name in ("dir", "dir/x/y", "sizeless", "books/1"):
        with pytest.raises(DatasetNotFound):
            await catalog.get(name)


async def test_spellings_that_normalise_alike_are_one_name(catalog: Catalog) -> None:
    composed, decomposed = "obs/\u00e9t\u00e9", "obs/e\u0301te\u0301"
    await catalog.publish(Made(decomposed))
    verdicts = await catalog.publish(Made(composed), Made(composed + "/x"), Made("obs/ete"))
    assert outcomes(verdicts) == [
        (REFUSED, "NAME_NORMALISES_ALIKE"),
        (REFUSED, "NAME_IS_PREFIX"),
        (PUBLISHED, ""),
    ]
    assert (await catalog.get(decomposed)).name == decomposed
    with pytest.raises(DatasetNotFound):
        await catalog.get(composed)


async def test_names_that_differ_in_case_or_only_begin_alike_stand_beside_each_other(
    catalog: Catalog,
) -> None:
    names = ["a/b", "A/b", "a/B", "a/b!", "a/b0", "a/b-c", "a/bc", "a/\u00e9"]
    assert outcomes(await catalog.publish(*map(Made, names))) == [(PUBLISHED, "")] * len(names)


async def test_identical_bytes_under_two_names_are_two_datasets(catalog: Catalog) -> None:
    assert outcomes(await catalog.publish(Made("one"), Made("two"))) == [(PUBLISHED, "")] * 2


async def test_inside_one_batch_the_first_stays(catalog: Catalog) -> None:
    first = Made("x/y")
    verdicts = await catalog.publish(
        first, Made("x/y"), Made("x/y", content="other"), Made("x/y/z"), Made("x"), Made("w")
    )
    assert outcomes(verdicts) == [
        (PUBLISHED, ""),
        (ALREADY, ""),
        (REFUSED, "NAME_TAKEN"),
        (REFUSED, "NAME_IS_PREFIX"),
        (REFUSED, "NAME_IS_PREFIX"),
        (PUBLISHED, ""),
    ]
    assert verdicts[1].uid == first.uid


async def test_what_cannot_come_in_does_not_keep_others_of_its_batch_out(catalog: Catalog) -> None:
    await catalog.publish(Made("x/live"))
    verdicts = await catalog.publish(Made("x"), Made("x/new"))
    assert outcomes(verdicts) == [(REFUSED, "NAME_IS_PREFIX"), (PUBLISHED, "")]


async def test_a_uid_is_for_one_dataset(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    for other in (Made("b", uid=one.uid), Made("a", "other bytes", uid=one.uid)):
        (verdict,) = await catalog.publish(other)
        assert (verdict.outcome, verdict.error.reason) == (REFUSED, "UID_TAKEN")
    two, three = await catalog.publish(Made("c", uid=(shared := catalog.new_id())), Made("d", uid=shared))
    assert {two.outcome, three.outcome} == {PUBLISHED, REFUSED}


async def test_the_same_dataset_on_another_store_gains_the_copy_there(catalog: Catalog) -> None:
    book = Made("books/1", kind=DIRECTORY, members=1)
    await catalog.add_members(book.uid, [member("m")])
    one = Made("a")
    await catalog.publish(book, one)
    clones = [replace(each, store="tape") for each in (book, one)]
    new = Made("new")
    for _ in range(2):
        verdicts = await catalog.publish(*clones, new)
        assert outcomes(verdicts) == [(ALREADY, ""), (ALREADY, ""), (PUBLISHED, "")]
        assert [verdict.uid for verdict in verdicts[:2]] == [book.uid, one.uid]
    # Published where it was published first, it is that publication again.
    assert outcomes(await catalog.publish(book)) == [(PUBLISHED, "")]
    assert [replica.store for replica in (await catalog.get("a")).replicas] == ["main", "tape"]
    events = [(event.type, event.dataset_name, event.store) for event in await catalog.events()]
    assert sorted(events) == [
        ("DATASET_PUBLISHED", "a", "main"),
        ("DATASET_PUBLISHED", "books/1", "main"),
        ("DATASET_PUBLISHED", "new", "main"),
        ("REPLICA_ADDED", "a", "tape"),
        ("REPLICA_ADDED", "books/1", "tape"),
    ]


async def test_a_copy_brought_back_is_a_copy_again(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    lost = pb.ReplicaUpdate(uid=one.uid, store="main", state=common_pb2.REPLICA_STATE_MISSING)
    assert not await catalog.update(lost)
    assert outcomes(await catalog.publish(one)) == [(PUBLISHED, "")]
    (replica,) = (await catalog.get("a")).replicas
    assert replica.state == common_pb2.REPLICA_STATE_AVAILABLE


async def test_at_once_on_two_stores_it_is_published_once_and_has_both_copies(catalog: Catalog) -> None:
    made = [Made(f"n/{number}") for number in range(20)]
    clones = [replace(each, store="tape") for each in made]
    await asyncio.gather(catalog.publish(*made), catalog.publish(*clones[::-1]))
    events = await catalog.events()
    assert sum(event.type == "DATASET_PUBLISHED" for event in events) == 20
    for each in made:
        found = await catalog.get(each.name)
        assert [replica.store for replica in found.replicas] == ["main", "tape"]


async def test_where_it_was_born_is_told_as_it_was_said(catalog: Catalog) -> None:
    born = Made("a", site="mountain")
    # What a later version may add comes through too.
    signed = common_pb2.Signed(
        type="librarian.origin", key_id="k", payload=b"\x0a\x08mountain\xfa\x07\x01?", signature=b"\x00\xff"
    ).SerializeToString()
    request = pb.PublishDatasetsRequest(
        request_id=catalog.new_id(), datasets=columns([born]), stores=["main"]
    )
    request.datasets.origin[0] = signed
    for _ in range(2):
        await catalog.stub.PublishDatasets(request)
        request.request_id = catalog.new_id()
    dataset = await catalog.get("a")
    assert (dataset.site, dataset.origin.SerializeToString()) == ("mountain", signed)
    assert [event.type for event in await catalog.events()] == ["DATASET_PUBLISHED"]


async def test_a_directory_is_published_with_all_its_members_or_not_at_all(catalog: Catalog) -> None:
    book = Made("books/1", kind=DIRECTORY, members=2)
    assert await catalog.add_members(book.uid, [member("a")]) == 1
    assert outcomes(await catalog.publish(book)) == [(REFUSED, "MEMBERS_INCOMPLETE")]
    assert await catalog.add_members(book.uid, [member("a"), member("b/c")]) == 2
    assert outcomes(await catalog.publish(book)) == [(PUBLISHED, "")]
    # A directory that is there already needs no members sent again.
    again = await catalog.publish(Made("books/1", kind=DIRECTORY, members=2))
    assert outcomes(again) == [(ALREADY, "")]


async def test_two_at_once_of_the_same_bytes_both_succeed(catalog: Catalog) -> None:
    pairs = [(Made(f"n/{number}"), Made(f"n/{number}")) for number in range(20)]
    for pair in pairs:
        (one,), (other,) = await asyncio.gather(*map(catalog.publish, pair))
        assert {one.outcome, other.outcome} == {PUBLISHED, ALREADY}
        assert one.uid == other.uid == (await catalog.get(pair[0].name)).uid


async def test_two_at_once_of_other_bytes_one_wins(catalog: Catalog) -> None:
    for number in range(20):
        pair = (Made(f"n/{number}", content="one"), Made(f"n/{number}", content="other"))
        verdicts = [verdict for (verdict,) in await asyncio.gather(*map(catalog.publish, pair))]
        assert sorted(verdict.outcome for verdict in verdicts) == [PUBLISHED, REFUSED]
        winner = verdicts.index(next(each for each in verdicts if each.outcome == PUBLISHED))
        assert (await catalog.get(pair[0].name)).digest.value == pair[winner].digest
        assert verdicts[1 - winner].error.reason == "NAME_TAKEN"


async def test_of_a_name_and_one_inside_of_it_at_once_one_wins(catalog: Catalog) -> None:
    for number in range(25):
        family = [Made(f"n/{number}"), Made(f"n/{number}/x"), Made(f"n/{number}/x/y")]
        verdicts = [verdict for (verdict,) in await asyncio.gather(*map(catalog.publish, family))]
        assert [each.outcome for each in verdicts].count(PUBLISHED) == 1
        assert [each.error.reason for each in verdicts].count("NAME_IS_PREFIX") == 2


async def test_batches_that_cross_each_other_neither_stall_nor_lose_anything(catalog: Catalog) -> None:
    # Enough that the transactions overlap: in another order each would wait for the other.
    names = [f"n/{number:04}" for number in range(3000)]
    verdicts = await asyncio.gather(
        *(
            catalog.publish(*(Made(name) for name in order))
            for order in (names, names[::-1], names[1500:] + names[:1500], names)
        )
    )
    published = [verdict.uid for batch in verdicts for verdict in batch if verdict.outcome == PUBLISHED]
    assert len(published) == len(set(published)) == len(names)
    assert {verdict.uid for batch in verdicts for verdict in batch} == set(published)
    sequences = [event.cursor.sequence for event in await catalog.events()]
    assert sequences == list(range(1, 1001))
    # A deadlock would be broken up by PostgreSQL and the call repeated by the channel.
    failed = {
        sample.labels["code"]
        for metric in catalog.runtime.metrics.registry.collect()
        for sample in metric.samples
        if sample.labels.get("code", "OK") != "OK"
    }
    assert not failed


async def test_a_batch_is_bounded_and_its_columns_are_even(catalog: Catalog) -> None:
    with pytest.raises(BatchTooLarge):
        await catalog.publish(*(Made(f"n/{number}") for number in range(5001)))
    uneven = pb.PublishDatasetsRequest(
        request_id=catalog.new_id(), datasets=columns([Made("a"), Made("b")]), stores=["main"]
    )
    with pytest.raises(InvalidInput):
        await catalog.stub.PublishDatasets(uneven)


async def test_clients_do_not_publish(catalog: Catalog) -> None:
    client = await catalog.as_client(role=Role.ADMIN)
    for call, request in (
        (client.PublishDatasets, pb.PublishDatasetsRequest()),
        (client.ReserveNames, pb.ReserveNamesRequest()),
        (client.UpdateReplicas, pb.UpdateReplicasRequest()),
    ):
        with pytest.raises(RoleMayNot):
            await call(request)
