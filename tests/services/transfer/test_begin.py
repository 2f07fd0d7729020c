"""Opening ingests: verdicts, placement, resumption, repetition, and whose they are."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from transfer_lab.rig import ALICE, Client, Rig, new_id, open_rig, spec_for
from transfer_lab.store import Space, file_content, tree_content

from librarian import errors
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.messages import error_of
from svckit.auth import Caller, Role

HELLO = file_content(b"hello")
BOB = Caller("bob", Role.INGESTER, token_id="token-bob")
OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")


def spec(name: str, size: int = 5, **fields: object) -> pb.IngestSpec:
    return pb.IngestSpec(name=name, kind=1, size_bytes=size, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    """No worker: what was begun stays as it is."""
    async with rig.transfer(), rig.client() as client:
        yield client


async def test_a_verdict_for_each_item(rig: Rig, client: Client) -> None:
    rig.catalog.add("there", b"x" * 32)
    response = await client.begin(
        spec("new"),
        spec("there"),
        spec("there/inside"),
        spec("../out"),
        spec("negative", -1),
        spec("huge", 10**15),
        spec("odd", algorithm="md5"),
    )
    told = [v.error.reason if v.HasField("error") else v.WhichOneof("result") for v in response.verdicts]
    assert told == [
        "open",
        "existing",
        "NAME_IS_PREFIX",
        "INVALID_NAME",
        "INVALID_SIZE",
        "STORE_FULL",
        "ALGORITHM_NOT_ALLOWED",
    ]
    assert response.verdicts[1].existing.uid == "live-there"
    assert response.verdicts[1].existing.digest.value == b"x" * 32
    assert all(
        v.error.metadata["remedy"]
        for v in response.verdicts
        if v.HasField("error") and v.error.reason != "INVALID_SIZE"
    )
    # Nothing is left of those that were refused.
    assert [row["name"] for row in await rig.rows()] == ["new"]
    assert [upload.spec.name for upload in rig.stores.uploads.values()] == ["new"]


async def test_too_many_at_once(client: Client) -> None:
    with pytest.raises(errors.BatchTooLarge):
        await client.begin(*(spec(str(i)) for i in range(501)))
    with pytest.raises(errors.InvalidInput):
        await client.begin(spec("n"), request_id="")
    with pytest.raises(errors.InvalidInput):
        await client.begin(spec("n"), traceparent="nonsense")


async def test_the_grant_names_the_store(rig: Rig, client: Client) -> None:
    response = await client.begin(spec("a"), spec("b"))
    assert [grant.store for grant in response.grants] == ["fast"]
    assert [verdict.open.grant for verdict in response.verdicts] == [0, 0]
    assert response.grants[0].ticket


async def test_a_full_store_falls_to_the_next(rig: Rig, client: Client) -> None:
    rig.stores.spaces["fast"].capacity = 12
    response = await client.begin(spec("a"), spec("b"), spec("c"))
    stores = [response.grants[verdict.open.grant].store for verdict in response.verdicts]
    assert stores == ["fast", "fast", "slow"]


async def test_a_store_that_filled_up_since_it_was_asked_falls_to_the_next(rig: Rig, client: Client) -> None:
    await client.begin(spec("fill"))
    # What the service knows of the stores is a moment old.
    rig.stores.spaces["fast"].capacity = 5
    response = await client.begin(spec("a"))
    assert response.grants[0].store == "slow"
    (row,) = await rig.rows("store", "name = 'a'")
    assert row["store"] == "slow"


async def test_full_everywhere_is_told_in_the_words_of_the_store(rig: Rig, client: Client) -> None:
    for space in rig.stores.spaces.values():
        space.capacity = 3
    with pytest.raises(errors.StoreFull):
        await client.open("a", HELLO)
    assert await rig.rows() == []


async def test_all_stores_disabled(rig: Rig, client: Client) -> None:
    rig.stores.spaces["fast"].enabled = False
    rig.stores.spaces["slow"].ingestible = False
    with pytest.raises(errors.NoStore) as caught:
        await client.open("a", HELLO)
    assert "fast: is disabled" in caught.value.message
    assert "slow: is drained" in caught.value.message
    assert await rig.rows() == []
    # Turned on again, it takes data at once, whatever was known a moment ago.
    rig.stores.spaces["slow"].ingestible = True
    assert await client.open("a", HELLO)


async def test_a_store_disabled_since_it_was_asked_falls_to_the_next(rig: Rig, client: Client) -> None:
    await client.open("a", HELLO)
    rig.stores.spaces["fast"].enabled = False
    response = await client.begin(spec("b"))
    assert response.grants[0].store == "slow"


async def test_only_the_named_store(rig: Rig, client: Client) -> None:
    response = await client.begin(spec("a"), store="slow")
    assert response.grants[0].store == "slow"
    response = await client.begin(spec("b"), store="nowhere")
    assert response.verdicts[0].error.reason == "STORE_NOT_FOUND"


async def test_a_silent_store_service_does_not_stop_the_others(directory: Path, database_dsn: str) -> None:
    spaces = {"near": [Space("near-1", priority=2)], "far": [Space("far-1", priority=1)]}
    async with open_rig(directory, database_dsn, spaces) as rig, rig.transfer(), rig.client() as client:
        rig.services["far"].trouble.always["ListStores"] = errors.Unavailable("down")
        response = await client.begin(spec("a"))
        assert response.grants[0].store == "near-1"
        response = await client.begin(spec("b"), spec("../c"), store="far-1")
        assert [v.error.reason for v in response.verdicts] == ["UNAVAILABLE", "INVALID_NAME"]
        del rig.services["far"].trouble.always["ListStores"]
        response = await client.begin(spec("b"), store="far-1")
        assert response.grants[0].store == "far-1"


async def test_the_same_request_again_has_the_same_answer(rig: Rig, client: Client) -> None:
    request_id = new_id()
    first, again = [await client.begin(spec("a"), spec("b"), request_id=request_id) for _ in range(2)]
    assert first.verdicts == again.verdicts
    assert len(await rig.rows()) == 2
    with pytest.raises(errors.RequestIdReused):
        await client.begin(spec("a"), request_id=request_id)


async def test_the_same_request_twice_at_once(rig: Rig, client: Client) -> None:
    request_id = new_id()
    first, second = await asyncio.gather(
        *(client.begin(spec("a"), spec("b"), request_id=request_id) for _ in range(2))
    )
    assert first.verdicts == second.verdicts
    assert len(rig.stores.uploads) == 2


async def test_the_same_request_twice_at_once_while_stores_fill_up(rig: Rig, client: Client) -> None:
    """Whatever each of the two thinks of the stores: one place for each item, and nothing reserved twice."""
    await client.begin(spec("fill"))
    rig.stores.spaces["fast"].capacity = 15
    request_id = new_id()
    answers = await asyncio.gather(
        *(client.begin(*(spec(f"n/{i}") for i in range(4)), request_id=request_id) for _ in range(3))
    )
    for answer in answers:
        assert [verdict.WhichOneof("result") for verdict in answer.verdicts] == ["open"] * 4
    rows = {row["ingest_id"]: row["store"] for row in await rig.rows("ingest_id, store")}
    assert rows == {uid: upload.store for uid, upload in rig.stores.uploads.items()}
    assert len(rows) == 5


@pytest.mark.parametrize("method", ["ReserveNames", "BeginUploads"])
async def test_an_answer_that_got_lost_is_no_second_reservation(
    rig: Rig, client: Client, method: str
) -> None:
    request_id = new_id()
    trouble = rig.catalog.trouble if method == "ReserveNames" else rig.stores.trouble
    trouble.lose_answer(method, errors.DeadlineExceeded("lost"))
    with pytest.raises(errors.DeadlineExceeded):
        await client.begin(spec("a"), request_id=request_id)
    assert [row["state"] for row in await rig.rows()] == [pb.INGEST_STATE_OPEN]
    response = await client.begin(spec("a"), request_id=request_id)
    assert response.verdicts[0].HasField("open")
    assert len(rig.stores.uploads) == 1
    assert rig.stores.spaces["fast"].reserved == 5


async def test_one_store_in_trouble_does_not_stop_items_on_others(rig: Rig, client: Client) -> None:
    rig.stores.spaces["fast"].capacity = 5
    rig.stores.trouble.fail("BeginUploads", [errors.DeadlineExceeded("slow")])
    response = await client.begin(spec("a"), spec("b"))
    told = sorted(verdict.WhichOneof("result") or "" for verdict in response.verdicts)
    assert told == ["error", "open"]


async def test_going_on_with_an_open_ingest(rig: Rig, client: Client) -> None:
    uid = await client.open("a", HELLO)
    before = (await client.get(uid)).expire_time.ToDatetime()
    response = await client.begin(spec("a", ingest_id=uid), spec("b"))
    assert response.verdicts[0].open.ingest_id == uid
    assert response.grants[response.verdicts[0].open.grant].store == "fast"
    assert (await client.get(uid)).expire_time.ToDatetime() > before
    assert len(rig.stores.uploads) == 2


async def test_what_cannot_be_gone_on_with(rig: Rig, client: Client) -> None:
    uid = await client.open("a", HELLO)
    aborted = await client.open("c", HELLO)
    await client.stub.AbortIngests(pb.AbortIngestsRequest(request_id=new_id(), ingest_ids=[aborted]))
    response = await client.begin(
        spec("a", ingest_id=new_id()),
        spec("b", ingest_id=uid),
        spec("c", ingest_id=aborted),
        spec("d", ingest_id="\0"),
    )
    told = [error_of(verdict.error).reason for verdict in response.verdicts]
    assert told == ["INGEST_NOT_FOUND", "INVALID_INPUT", "INGEST_CLOSED", "INGEST_NOT_FOUND"]
    async with rig.client(BOB) as bob:
        response = await bob.begin(spec("a", ingest_id=uid))
        assert response.verdicts[0].error.reason == "INGEST_NOT_FOUND"


async def test_ingesters_act_on_their_own_and_operators_on_all(rig: Rig, client: Client) -> None:
    uid = await client.bring("a", HELLO)
    async with rig.client(BOB) as bob:
        with pytest.raises(errors.IngestNotFound):
            await bob.get(uid)
        assert (await bob.commit((uid, HELLO)))[0].error.reason == "INGEST_NOT_FOUND"
        abort = pb.AbortIngestsRequest(request_id=new_id(), ingest_ids=[uid])
        assert (await bob.stub.AbortIngests(abort)).verdicts[0].error.reason == "INGEST_NOT_FOUND"
        wait = pb.WaitIngestsRequest(ingest_ids=[uid], timeout_ms=10_000)
        assert (await bob.stub.WaitIngests(wait)).verdicts[0].error.reason == "INGEST_NOT_FOUND"
        assert not (await bob.stub.ListIngests(pb.ListIngestsRequest())).ingests
    assert (await client.get(uid)).state == pb.INGEST_STATE_OPEN
    async with rig.client(OPERATOR) as operator:
        assert (await operator.get(uid)).uploader == "alice"
        response = await operator.begin(spec("a", ingest_id=uid))
        assert response.verdicts[0].open.ingest_id == uid
        assert len((await operator.stub.ListIngests(pb.ListIngestsRequest())).ingests) == 1
        assert (await operator.commit((uid, HELLO)))[0].ingest.state == pb.INGEST_STATE_COMMITTING


async def test_a_token_for_a_prefix(rig: Rig, client: Client) -> None:
    await client.open("satp1/obs", HELLO)
    async with rig.client(dataclasses.replace(ALICE, name_prefix="satp3/**")) as narrow:
        response = await narrow.begin(spec("satp3/obs"), spec("satp1/other"))
        assert response.verdicts[0].HasField("open")
        assert response.verdicts[1].error.reason == "NAME_OUTSIDE_PREFIX"
        listed = (await narrow.stub.ListIngests(pb.ListIngestsRequest())).ingests
        assert [ingest.name for ingest in listed] == ["satp3/obs"]
    async with rig.client(dataclasses.replace(OPERATOR, name_prefix="satp3/**")) as narrow:
        listed = (await narrow.stub.ListIngests(pb.ListIngestsRequest())).ingests
        assert [ingest.name for ingest in listed] == ["satp3/obs"]


async def test_listing_by_pages_newest_first(rig: Rig, client: Client) -> None:
    for number in range(5):
        await client.open(f"n/{number}", HELLO)
    names, token = [], ""
    while True:
        page = await client.stub.ListIngests(pb.ListIngestsRequest(page_size=2, page_token=token))
        names += [ingest.name for ingest in page.ingests]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"n/{number}" for number in reversed(range(5))]
    final = await client.stub.ListIngests(pb.ListIngestsRequest(states=[pb.INGEST_STATE_FAILED]))
    assert not final.ingests
    first = await client.stub.ListIngests(pb.ListIngestsRequest(page_size=2))
    with pytest.raises(errors.InvalidPageToken):
        await client.stub.ListIngests(
            pb.ListIngestsRequest(page_token=first.next_page_token, states=[pb.INGEST_STATE_OPEN])
        )


async def test_readers_may_not(rig: Rig) -> None:
    async with rig.transfer(), rig.client(Caller("rita", Role.READER)) as reader:
        with pytest.raises(errors.RoleMayNot):
            await reader.open("a", HELLO)


async def test_a_directory_asks_for_its_inodes(rig: Rig, client: Client) -> None:
    content = tree_content({"a": b"1", "b/c": b"22"})
    await client.begin(spec_for("book", content, inode_count=4), spec("file"))
    counts = {upload.spec.name: upload.spec.inode_count for upload in rig.stores.uploads.values()}
    assert counts == {"book": 4, "file": 1}
