"""From Begin to the end, with everything that may go differently on the way."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from support.eventually import eventually
from transfer_lab.rig import Client, Rig, new_id
from transfer_lab.store import Content, file_content, tree_content

from librarian import errors
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.messages import error_of
from svckit.keys import load_public_key
from svckit.signing import verify

PUBLISHED, FAILED = pb.INGEST_STATE_PUBLISHED, pb.INGEST_STATE_FAILED
HELLO = file_content(b"hello")
OTHER = file_content(b"other bytes")


async def test_a_file_is_published(rig: Rig) -> None:
    async with rig.running() as client:
        ingest = await client.put("satp3/obs/1", HELLO, tags={"band": "f090"})
        assert ingest.state == PUBLISHED
        assert ingest.dataset_uid == ingest.ingest_id
        assert ingest.digest.value == HELLO.digest.value
        await rig.all_settled()
    assert rig.catalog.live["satp3/obs/1"].uid == ingest.ingest_id
    assert rig.stores.strays() == []
    assert rig.stores.spaces["fast"].reserved == 0


async def test_a_directory_is_published_with_its_members(rig: Rig) -> None:
    content = tree_content({"a": b"1", "b/c": b"22"})
    async with rig.running() as client:
        ingest = await client.put("book", content)
        assert ingest.state == PUBLISHED
    assert set(rig.catalog.members[ingest.ingest_id]) == {"a", "b/c"}


async def test_the_origin_is_signed_and_the_sidecar_is_told_the_same(rig: Rig) -> None:
    async with rig.running() as client:
        ingest = await client.put("satp3/obs/1", HELLO, tags={"band": "f090"})
    columns = rig.catalog.columns[ingest.ingest_id]
    signed = common_pb2.Signed.FromString(columns["origin"])
    payload = verify(signed, load_public_key(rig.directory / "site.pub"), expected_type="librarian.origin")
    origin = common_pb2.Origin.FromString(payload)
    assert (origin.site, origin.uid, origin.name) == ("lab", ingest.ingest_id, "satp3/obs/1")
    assert (origin.digest.value, origin.size_bytes, origin.uploader) == (HELLO.digest.value, 5, "alice")
    assert origin.create_time_us == columns["create_time_us"]
    facts = json.loads(rig.stores.uploads[ingest.ingest_id].facts_json)
    assert base64.b64decode(facts["origin"]) == columns["origin"]
    assert (facts["uploader"], facts["site"], facts["tags"]) == ("alice", "lab", {"band": "f090"})
    assert facts["traceparent"] == columns["traceparent"] == origin.traceparent


async def test_time_tags_and_trace_of_the_client_are_kept(rig: Rig) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with rig.running() as client:
        spec = pb.IngestSpec(name="n", kind=1, size_bytes=5, tags={"b": "2", "a": "1"})
        spec.create_time.FromNanoseconds(1_700_000_000_123_456_789)
        response = await client.begin(spec, traceparent=trace)
        uid = response.verdicts[0].open.ingest_id
        rig.stores.bring(uid, HELLO)
        await client.commit((uid, HELLO))
        await client.wait(uid)
    columns = rig.catalog.columns[uid]
    assert columns["create_time_us"] == 1_700_000_000_123_456
    assert json.loads(columns["tags_json"]) == {"a": "1", "b": "2"}
    assert columns["traceparent"] == trace


async def test_hundreds_at_once(rig: Rig) -> None:
    contents = {f"many/{i:04}": file_content(str(i).encode()) for i in range(500)}
    async with rig.running() as client:
        response = await client.begin(*(pb.IngestSpec(name=name, kind=1, size_bytes=10) for name in contents))
        assert len(response.grants) == 1
        uids = [verdict.open.ingest_id for verdict in response.verdicts]
        for uid, content in zip(uids, contents.values(), strict=True):
            rig.stores.bring(uid, content)
        await client.commit(*zip(uids, contents.values(), strict=True))
        ended = await client.wait(*uids)
        assert {each.state for each in ended} == {PUBLISHED}
        await rig.all_settled()
    assert rig.stores.trouble.calls["CommitUploads"] <= 3
    assert rig.catalog.trouble.calls["PublishDatasets"] <= 3


async def _race(client: Client, rig: Rig, first: Content, second: Content) -> list[pb.Ingest]:
    uids = [await client.bring("one/name", content) for content in (first, second)]
    await asyncio.gather(*(client.commit(claim) for claim in zip(uids, (first, second), strict=True)))
    ended = await client.wait(*uids)
    await rig.all_settled()
    return ended


async def test_two_clients_the_same_name_and_bytes(rig: Rig) -> None:
    async with rig.running() as client:
        ended = await _race(client, rig, HELLO, HELLO)
    assert {each.state for each in ended} == {PUBLISHED}
    assert {each.dataset_uid for each in ended} == {rig.catalog.live["one/name"].uid}
    assert rig.stores.strays() == []
    assert rig.stores.spaces["fast"].reserved == 0


async def test_two_clients_the_same_name_and_other_bytes(rig: Rig) -> None:
    async with rig.running() as client:
        ended = await _race(client, rig, HELLO, OTHER)
    assert sorted(each.state for each in ended) == [PUBLISHED, FAILED]
    (lost,) = [each for each in ended if each.state == FAILED]
    assert lost.error.reason in {"NAME_TAKEN", "PATH_TAKEN"}
    assert lost.error.metadata["remedy"]
    assert rig.stores.strays() == []
    assert rig.stores.spaces["fast"].reserved == 0


async def test_the_same_name_on_two_stores_is_settled_by_the_catalogue(rig: Rig) -> None:
    async with rig.running() as client:
        first = await client.begin(pb.IngestSpec(name="n", kind=1, size_bytes=5), store="fast")
        second = await client.begin(pb.IngestSpec(name="n", kind=1, size_bytes=5), store="slow")
        uids = [each.verdicts[0].open.ingest_id for each in (first, second)]
        for uid in uids:
            rig.stores.bring(uid, HELLO)
        await client.commit(*((uid, HELLO) for uid in uids))
        ended = await client.wait(*uids)
        await rig.all_settled()
    assert {each.state for each in ended} == {PUBLISHED}
    assert len({each.dataset_uid for each in ended}) == 1
    # Only one copy stays: the other's bytes are given back.
    assert len(rig.stores.paths) == 1


async def test_identical_bytes_under_two_names(rig: Rig) -> None:
    async with rig.running() as client:
        ended = await asyncio.gather(client.put("one", HELLO), client.put("two", HELLO))
    assert {each.state for each in ended} == {PUBLISHED}
    assert rig.catalog.live["one"].uid != rig.catalog.live["two"].uid


async def test_a_wrong_claim_fails_and_leaves_nothing(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        await client.commit((uid, OTHER))
        (ended,) = await client.wait(uid)
        await rig.all_settled()
    assert ended.state == FAILED
    assert ended.error.reason == "CHECKSUM_MISMATCH"
    assert "n" not in rig.catalog.live
    assert rig.stores.strays() == []


async def test_commit_with_nothing_staged(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.open("n", HELLO)
        await client.commit((uid, HELLO))
        (ended,) = await client.wait(uid)
    assert (ended.state, ended.error.reason) == (FAILED, "NOTHING_STAGED")


async def test_a_path_taken_by_something_uncatalogued(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        rig.stores.paths["fast", "n"] = "whatever lies there"
        await client.commit((uid, HELLO))
        (ended,) = await client.wait(uid)
        assert (ended.state, ended.error.reason) == (FAILED, "PATH_TAKEN")
        with pytest.raises(errors.PathTaken):
            await client.put("n", HELLO)
    assert rig.stores.spaces["fast"].reserved == 0


async def test_a_name_that_was_published_while_it_was_asked_about(rig: Rig) -> None:
    """The catalogue says it is free; by the time the store is asked, the dataset lies there."""
    async with rig.running() as client:
        rig.stores.trouble.close_gate("BeginUploads")
        begun = asyncio.create_task(client.begin(pb.IngestSpec(name="n", kind=1, size_bytes=5)))
        await rig.stores.trouble.at_gate["BeginUploads"].wait()
        rig.catalog.add("n", HELLO.digest.value)
        rig.stores.paths["fast", "n"] = rig.catalog.live["n"].uid
        rig.stores.trouble.open_gate("BeginUploads")
        (verdict,) = (await begun).verdicts
    assert verdict.existing.uid == rig.catalog.live["n"].uid
    assert rig.stores.uploads == {}


async def test_a_path_held_by_what_the_catalogue_never_heard_of(rig: Rig) -> None:
    """Adopted once and refused by the catalogue, say: nobody will ever publish it."""
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        rig.stores.adopted["n"] = ("held", OTHER)
        rig.stores.paths["fast", "n"] = "held"
        await client.commit((uid, HELLO))
        (ended,) = await client.wait(uid, seconds=40)
        await rig.all_settled()
    assert (ended.state, ended.error.reason) == (FAILED, "PATH_TAKEN")
    assert rig.stores.strays() == []


async def test_a_path_already_held_by_the_same_dataset(rig: Rig) -> None:
    """Its name was free when the second began, and published when it committed."""
    async with rig.running() as client:
        late = await client.bring("n", HELLO)
        first = await client.put("n", HELLO)
        await client.commit((late, HELLO))
        (ended,) = await client.wait(late)
        await rig.all_settled()
    assert (ended.state, ended.dataset_uid) == (PUBLISHED, first.ingest_id)
    assert rig.stores.paths == {("fast", "n"): first.ingest_id}


async def test_a_name_that_closed_meanwhile_is_told_why(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("a/b", HELLO)
        rig.catalog.add("a", b"x" * 32)
        await client.commit((uid, HELLO))
        (ended,) = await client.wait(uid)
        await rig.all_settled()
    assert (ended.state, ended.error.reason) == (FAILED, "NAME_IS_PREFIX")
    assert rig.stores.paths == {}


async def test_one_bad_item_does_not_stop_the_others(rig: Rig) -> None:
    async with rig.running() as client:
        good, bad = await client.bring("good", HELLO), await client.bring("bad", HELLO)
        await client.commit((good, HELLO), (bad, OTHER))
        ended = await client.wait(good, bad)
    assert [each.state for each in ended] == [PUBLISHED, FAILED]


async def test_a_slow_one_does_not_hold_up_its_batch_and_shows_progress(rig: Rig) -> None:
    async with rig.running() as client:
        quick, slow = await client.bring("quick", HELLO), await client.bring("slow", HELLO)
        rig.stores.slow[slow] = 3
        await client.commit((quick, HELLO), (slow, HELLO))
        assert (await client.wait(quick))[0].state == PUBLISHED

        async def shows_progress() -> bool:
            ingest = await client.get(slow)
            return ingest.state == pb.INGEST_STATE_COMMITTING and ingest.verified_bytes == 3

        await eventually(shows_progress)
        del rig.stores.slow[slow]
        assert (await client.wait(slow))[0].state == PUBLISHED


@pytest.mark.parametrize(
    ("where", "method", "error"),
    [
        ("store", "CommitUploads", errors.Unavailable("down")),
        ("store", "CommitUploads", errors.StoreDisabled("off")),
        ("store", "CommitUploads", errors.DeadlineExceeded("slow")),
        ("store", "CommitUploads", errors.TokenInvalid("keys are being changed")),
        ("store", "ReadManifest", errors.Unavailable("down")),
        ("store", "ConfirmUploads", errors.Unavailable("down")),
        ("catalog", "AddMembers", errors.Unavailable("down")),
        ("catalog", "PublishDatasets", errors.Unavailable("down")),
    ],
)
async def test_passing_trouble_keeps_the_ingest(
    rig: Rig, where: str, method: str, error: errors.LibrarianError
) -> None:
    trouble = rig.catalog.trouble if where == "catalog" else rig.stores.trouble
    # The channel itself repeats UNAVAILABLE a few times: more often than it does.
    repeated = isinstance(error, errors.Unavailable) and method not in {"AddMembers", "ReadManifest"}
    trouble.fail(method, [error] * (6 if repeated else 2))
    trouble.lose_answer(method, error)
    async with rig.running() as client:
        ingest = await client.put("book", tree_content({"a": b"1"}))
        assert ingest.state == PUBLISHED
        await rig.all_settled()
    assert not trouble.before[method]
    assert rig.stores.strays() == []


async def test_the_last_trouble_can_be_seen_while_it_lasts(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        rig.stores.spaces["fast"].enabled = False
        await client.commit((uid, HELLO))

        async def tells() -> bool:
            ingest = await client.get(uid)
            return ingest.state == pb.INGEST_STATE_COMMITTING and ingest.error.reason == "STORE_DISABLED"

        await eventually(tells)
        rig.stores.spaces["fast"].enabled = True
        (ended,) = await client.wait(uid)
    assert ended.state == PUBLISHED
    assert not ended.HasField("error")


async def test_members_the_catalogue_lost_are_sent_again(rig: Rig) -> None:
    async with rig.running() as client:
        content = tree_content({"a": b"1"})
        uid = await client.bring("book", content)
        rig.catalog.forgets_members_once.add(uid)
        await client.commit((uid, content))
        (ended,) = await client.wait(uid)
    assert ended.state == PUBLISHED
    assert rig.catalog.trouble.calls["AddMembers"] == 2


async def test_a_disabled_store_delays_only_its_own(rig: Rig) -> None:
    async with rig.running() as client:
        response = await client.begin(pb.IngestSpec(name="stuck", kind=1, size_bytes=5), store="slow")
        stuck = response.verdicts[0].open.ingest_id
        rig.stores.bring(stuck, HELLO)
        rig.stores.spaces["slow"].enabled = False
        await client.commit((stuck, HELLO))
        for number in range(3):
            assert (await client.put(f"free/{number}", HELLO)).state == PUBLISHED
        assert (await client.get(stuck)).state == pb.INGEST_STATE_COMMITTING


async def test_a_request_that_spoils_its_batch_is_found_and_only_that_fails(rig: Rig) -> None:
    """The catalogue refuses whole calls that contain one name."""
    rig.catalog.unbearable = "poison"
    names = [*(f"fine/{i}" for i in range(5)), "poison"]
    async with rig.running() as client:
        uids = [await client.bring(name, HELLO) for name in names]
        await client.commit(*((uid, HELLO) for uid in uids))
        ended = await client.wait(*uids)
    assert [each.state for each in ended] == [PUBLISHED] * 5 + [FAILED]
    assert ended[-1].error.reason == "INVALID_INPUT"


async def test_saying_commit_again_is_harmless_unless_it_says_something_else(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        for _ in range(2):
            (verdict,) = await client.commit((uid, HELLO))
            assert verdict.HasField("ingest")
        await client.wait(uid)
        (verdict,) = await client.commit((uid, HELLO))
        assert verdict.ingest.state == PUBLISHED
        (verdict,) = await client.commit((uid, OTHER))
        assert isinstance(error_of(verdict.error), errors.IngestClosed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"algorithm": "md5"}, "ALGORITHM_NOT_ALLOWED"),
        ({"algorithm": "blake3"}, "ALGORITHM_NOT_ALLOWED"),
        ({"value": b"short"}, "INVALID_INPUT"),
    ],
)
async def test_claims_that_cannot_be(rig: Rig, change: dict[str, object], reason: str) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        digest = common_pb2.Checksum(algorithm="sha256", value=HELLO.digest.value)
        for field, value in change.items():
            setattr(digest, field, value)
        item = pb.CommitIngestItem(ingest_id=uid, digest=digest, size_bytes=5, member_count=1)
        nobody = pb.CommitIngestItem(ingest_id="no\0body", digest=HELLO.digest and digest, size_bytes=5)
        request = pb.CommitIngestsRequest(request_id=new_id(), items=[item, nobody])
        told = [verdict.error.reason for verdict in (await client.stub.CommitIngests(request)).verdicts]
        assert told[0] == reason
        assert (await client.get(uid)).state == pb.INGEST_STATE_OPEN


async def test_abort_gives_everything_back(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        request = pb.AbortIngestsRequest(request_id=new_id(), ingest_ids=[uid, "unknown"])
        response = await client.stub.AbortIngests(request)
        assert response.verdicts[0].ingest.state == pb.INGEST_STATE_ABORTED
        assert response.verdicts[1].error.reason == "INGEST_NOT_FOUND"
        await rig.all_settled()
        assert rig.stores.strays() == []
        assert rig.stores.spaces["fast"].reserved == 0
        (verdict,) = await client.commit((uid, HELLO))
        assert verdict.error.reason == "INGEST_CLOSED"


async def test_abort_leaves_what_is_under_way_or_final_as_it_is(rig: Rig) -> None:
    async with rig.running() as client:
        ingest = await client.put("n", HELLO)
        request = pb.AbortIngestsRequest(request_id=new_id(), ingest_ids=[ingest.ingest_id])
        response = await client.stub.AbortIngests(request)
        assert response.verdicts[0].ingest.state == PUBLISHED
    assert "n" in rig.catalog.live


async def test_waiting_is_woken_not_polled(rig: Rig) -> None:
    """A wait longer than the look-again timer ends the moment the ingest does."""
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        rig.stores.trouble.close_gate("CommitUploads")
        await client.commit((uid, HELLO))
        wait = asyncio.create_task(
            client.stub.WaitIngests(pb.WaitIngestsRequest(ingest_ids=[uid], timeout_ms=25_000))
        )
        await rig.stores.trouble.at_gate["CommitUploads"].wait()
        assert not wait.done()
        started = asyncio.get_running_loop().time()
        rig.stores.trouble.open_gate("CommitUploads")
        response = await wait
        assert response.verdicts[0].ingest.state == PUBLISHED
        assert asyncio.get_running_loop().time() - started < 2.0


async def test_waiting_ends_with_the_time_or_with_the_service(rig: Rig) -> None:
    async with rig.client() as client:
        async with rig.transfer():
            uid = await client.open("n", HELLO)
            request = pb.WaitIngestsRequest(ingest_ids=[uid], timeout_ms=50)
            response = await client.stub.WaitIngests(request)
            assert response.verdicts[0].ingest.state == pb.INGEST_STATE_OPEN
            wait = asyncio.create_task(
                client.stub.WaitIngests(pb.WaitIngestsRequest(ingest_ids=[uid], timeout_ms=25_000))
            )
            # On the same connection: once this is answered, the wait has come, too.
            await client.get(uid)
            assert not wait.done()
        assert (await wait).verdicts[0].ingest.state == pb.INGEST_STATE_OPEN


async def test_a_full_disk_in_the_middle_is_told(rig: Rig) -> None:
    async with rig.running() as client:
        uid = await client.bring("n", HELLO)
        rig.stores.uploads[uid].state = 6
        rig.stores.uploads[uid].error = errors.StoreFull("ENOSPC")
        await client.commit((uid, HELLO))
        (ended,) = await client.wait(uid)
    assert (ended.state, ended.error.reason) == (FAILED, "STORE_FULL")


async def test_a_file_of_no_bytes_is_fine(rig: Rig) -> None:
    async with rig.running() as client:
        assert (await client.put("empty", file_content(b""))).state == PUBLISHED
