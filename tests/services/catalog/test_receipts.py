"""RecordReceipts and ListReceipts: what other sites hold."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.catalog_site import Catalog, Held, Made

from catalog_svc.queries import receipts as queries
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import BatchTooLarge, CursorOfAnotherEpoch, DatasetNotFound, RequestIdReused, RoleMayNot
from librarian.messages import datetime_of, microseconds, timestamp
from svckit.auth import Role

HOUR_US = 3_600_000_000


async def page(catalog: Any, **fields: Any) -> pb.ListReceiptsResponse:
    """`catalog`: a stub."""
    return await catalog.ListReceipts(pb.ListReceiptsRequest(**fields))


def copies(dataset: pb.Dataset) -> list[tuple[str, str, str, str, int]]:
    return [
        (
            *(each.site, each.store, each.store_class, each.failure_domain),
            microseconds(datetime_of(each.verify_time)),
        )
        for each in dataset.remote_replicas
    ]


async def test_a_receipt_is_a_copy_elsewhere_an_event_and_kept_as_it_came(catalog: Catalog) -> None:
    one, other = Made("a/1", tags={"k": "v"}), Made("a/2")
    await catalog.publish(one, other)
    catalog.advance(3600)
    now = catalog.clock.now()
    held = Held(one, verified_us=microseconds(now) - HOUR_US)
    told = held.record(via="relay")
    assert await catalog.record(told) == pb.RecordReceiptsResponse(recorded_count=1)
    dataset = await catalog.get("a/1")
    assert list(dataset.remote_replicas) == [
        pb.RemoteReplica(
            site="nersc",
            store="cfs",
            store_class="archive",
            failure_domain="nersc-cfs",
            verify_time=timestamp(now - timedelta(hours=1)),
            record_time=timestamp(now),
            via_site="relay",
        )
    ]
    assert [replica.store for replica in dataset.replicas] == ["main"]
    # However it is asked for.
    many = await catalog.stub.BatchGetDatasets(pb.BatchGetDatasetsRequest(uids=[one.uid]))
    full = await catalog.stub.ListDatasets(pb.ListDatasetsRequest(with_replicas=True))
    bare = await catalog.stub.ListDatasets(pb.ListDatasetsRequest())
    assert list(many.datasets) == [dataset] == list(full.datasets[:1])
    assert [len(each.remote_replicas) for each in (*full.datasets, *bare.datasets)] == [1, 0, 0, 0]
    event = (await catalog.events())[-1]
    assert (event.type, event.dataset_uid, event.store) == ("RECEIPT_RECORDED", one.uid, "")
    assert json.loads(event.details_json) == {
        "site": "nersc",
        "store": "cfs",
        "store_class": "archive",
        "failure_domain": "nersc-cfs",
        "verify_time_us": held.verified_us,
        "via_site": "relay",
        "key_id": told.receipt.key_id,
    }
    listed = await page(catalog.stub)
    assert list(listed.receipts) == [told]
    assert listed.next == event.cursor


async def test_the_same_receipt_again_is_no_news_whichever_way_it_comes(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    held = Held(one)
    noisy = held.record(via="second")
    # A field of a later version, outside of what is signed.
    noisy.receipt.MergeFromString(b"\x92\x03\x05noise")
    answer = await catalog.record(held.record(), held.record(via="first"))
    assert answer.recorded_count == 1
    for again in (held.record(), noisy):
        assert not (await catalog.record(again)).recorded_count
    assert len(await catalog.events()) == 2
    assert [each.via_site for each in (await catalog.get("a")).remote_replicas] == ["nersc"]
    assert list((await page(catalog.stub)).receipts) == [held.record(via="nersc")]


async def test_at_once_by_two_ways_a_receipt_is_recorded_once(catalog: Catalog) -> None:
    made = [Made(f"n/{number}") for number in range(40)]
    await catalog.publish(*made)
    told = [Held(each).record() for each in made]
    answers = await asyncio.gather(*(catalog.record(*order) for order in (told, told[::-1], told[20:])))
    assert sum(answer.recorded_count for answer in answers) == 40
    events = await catalog.events()
    assert [event.cursor.sequence for event in events] == list(range(1, 81))


async def test_an_older_one_is_kept_and_changes_nothing_else(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    newer = Held(one)
    older = replace(newer, verified_us=newer.verified_us - HOUR_US, domain="elsewhere")
    await catalog.record(newer.record())
    before = await catalog.get("a")
    assert (await catalog.record(older.record())).recorded_count == 1
    assert await catalog.get("a") == before
    assert len((await page(catalog.stub, dataset_uid=one.uid)).receipts) == 2
    newest = replace(newer, verified_us=newer.verified_us + HOUR_US, domain="elsewhere")
    await catalog.record(newest.record())
    assert copies(await catalog.get("a")) == [("nersc", "cfs", "archive", "elsewhere", newest.verified_us)]


async def test_a_clock_that_runs_ahead_does_not_keep_later_words_out(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    now_us = microseconds(catalog.clock.now())
    await catalog.record(Held(one, verified_us=now_us + 1000 * HOUR_US).record())
    catalog.advance(7200)
    await catalog.record(Held(one, verified_us=now_us - HOUR_US).record())
    (ahead,) = (await catalog.get("a")).remote_replicas
    assert microseconds(datetime_of(ahead.verify_time)) == now_us + 1000 * HOUR_US
    await catalog.record(Held(one, verified_us=now_us + HOUR_US).record())
    (right,) = (await catalog.get("a")).remote_replicas
    assert microseconds(datetime_of(right.verify_time)) == now_us + HOUR_US


words = st.tuples(
    st.sampled_from(["nersc", "princeton"]),
    st.sampled_from(["cfs", "tape"]),
    st.integers(0, 3),
    st.sampled_from(["box-1", "box-2"]),
)


async def test_in_any_order_and_repeated_they_say_the_same(catalog: Catalog) -> None:
    loop = asyncio.get_running_loop()

    async def told(batches: list[list[tuple[str, str, int, str]]]) -> pb.Dataset:
        made = Made(f"n/{catalog.new_id()}")
        await catalog.publish(made)
        for batch in batches:
            catalog.advance(1)
            await catalog.record(
                *(
                    Held(made, site, store, verified_us=hours * HOUR_US, domain=domain).record()
                    for site, store, hours, domain in batch
                ),
            )
        return await catalog.get(made.name)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.lists(words, max_size=4), max_size=4), st.randoms(use_true_random=False))
    def check(batches: list[list[tuple[str, str, int, str]]], random: Any) -> None:
        found = asyncio.run_coroutine_threadsafe(told(batches), loop).result(30)
        newest: dict[tuple[str, str], int] = {}
        for site, store, hours, _ in (word for batch in batches for word in batch):
            newest[site, store] = max(newest.get((site, store), 0), hours)
        assert {(each[0], each[1]): each[4] // HOUR_US for each in copies(found)} == newest
        again = [word for batch in batches for word in batch] * 2
        random.shuffle(again)
        other = asyncio.run_coroutine_threadsafe(told([again[:3], again[3:]]), loop).result(30)
        assert [each[:3] + each[4:] for each in copies(other)] == [
            each[:3] + each[4:] for each in copies(found)
        ]

    await asyncio.to_thread(check)


async def test_what_does_not_fit_is_refused_alone(catalog: Catalog) -> None:
    one, two = Made("a/1"), Made("a/2")
    await catalog.publish(one, two)
    good, ghost = Held(two), Held(Made("ghost"))
    forged = Held(one).record()
    forged.receipt.type = "librarian.origin"
    unreadable = Held(one).record()
    unreadable.receipt.payload = b"\xff\xff"
    answer = await catalog.record(
        ghost.record(),
        Held(Made("a/1", "other bytes", uid=one.uid)).record(),
        Held(Made("a/1", uid=one.uid, kind=common_pb2.DATASET_KIND_DIRECTORY)).record(),
        forged,
        unreadable,
        Held(one, store="No Store").record(),
        Held(one, site="").record(),
        Held(one, domain="\0").record(),
        Held(one, domain="long" * 5000).record(),
        Held(Made("a/1", uid="junk")).record(),
        Held(one, verified_us=2**62).record(),
        good.record(),
    )
    assert answer.recorded_count == 1
    assert {each.index: each.error.reason for each in answer.verdicts} == {
        0: "DATASET_NOT_FOUND",
        1: "RECEIPT_MISMATCH",
        2: "RECEIPT_MISMATCH",
        3: "SIGNATURE_INVALID",
        4: "SIGNATURE_INVALID",
        5: "INVALID_STORE",
        6: "INVALID_INPUT",
        7: "INVALID_INPUT",
        8: "INVALID_INPUT",
        9: "INVALID_INPUT",
        10: "INVALID_INPUT",
    }
    assert [each.receipt for each in (await page(catalog.stub)).receipts] == [good.record().receipt]
    assert copies(await catalog.get("a/1")) == []


async def test_what_this_site_says_of_itself_is_no_copy_elsewhere(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    own = catalog.settings.site.name
    answer = await catalog.record(Held(one, site=own).record(), Held(one).record())
    assert answer.recorded_count == 2
    assert [each.site for each in (await catalog.get("a")).remote_replicas] == ["nersc"]
    assert len((await page(catalog.stub)).receipts) == 2


async def test_the_same_request_again_gets_the_same_answer(catalog: Catalog) -> None:
    one = Made("a")
    await catalog.publish(one)
    request = pb.RecordReceiptsRequest(request_id=catalog.new_id(), receipts=[Held(one).record()])
    first = await catalog.stub.RecordReceipts(request)
    assert first.recorded_count == 1
    assert await catalog.stub.RecordReceipts(request) == first
    request.receipts.append(request.receipts[0])
    with pytest.raises(RequestIdReused):
        await catalog.stub.RecordReceipts(request)


async def test_a_thousand_take_as_many_statements_as_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Made(f"n/{number:04}") for number in range(1000)]
    await catalog.publish(*made)
    said: list[str] = []
    fetch = queries.HotStatement.fetch

    async def counting(self: Any, connection: Any, **values: Any) -> Any:
        said.append(self.sql)
        return await fetch(self, connection, **values)

    monkeypatch.setattr(queries.HotStatement, "fetch", counting)
    assert (await catalog.record(Held(made[0]).record())).recorded_count == 1
    alone, said[:] = len(said), []
    assert (await catalog.record(*(Held(each).record() for each in made))).recorded_count == 999
    assert alone == len(said) <= 4
    with pytest.raises(BatchTooLarge):
        await catalog.record(*(Held(made[0]).record() for _ in range(1001)))


async def test_receipts_are_listed_after_a_cursor_in_the_order_they_came(catalog: Catalog) -> None:
    lat, satp = Made("lat/1"), Made("satp3/1")
    await catalog.publish(lat, satp)
    told = [
        Held(made, verified_us=number).record(via="nersc")
        for number, made in enumerate([lat, satp, lat, lat, satp])
    ]
    for each in told:
        await catalog.record(each)
        await catalog.publish(Made(f"between/{catalog.new_id()}"))
    found, cursor = [], None
    for wanted in (2, 2, 1, 0):
        answer = await page(catalog.stub, after=cursor, page_size=2)
        assert len(answer.receipts) == wanted
        found += answer.receipts
        assert (answer.next == cursor) == (wanted == 0)
        cursor = answer.next
    assert found == told
    assert list((await page(catalog.stub, dataset_uid=satp.uid)).receipts) == [told[1], told[4]]
    assert not (await page(catalog.stub, dataset_uid=satp.uid, after=cursor)).receipts
    client = await catalog.as_client(prefix="satp3/**")
    seen = await page(client)
    assert (list(seen.receipts), seen.next) == ([told[1], told[4]], cursor)
    with pytest.raises(CursorOfAnotherEpoch):
        await page(catalog.stub, after=pb.EventCursor(epoch=1, sequence=1))
    with pytest.raises(DatasetNotFound):
        await page(catalog.stub, dataset_uid="junk")


async def test_clients_record_no_receipts(catalog: Catalog) -> None:
    for role in (Role.ADMIN, Role.PEER):
        with pytest.raises(RoleMayNot):
            await (await catalog.as_client(role=role)).RecordReceipts(pb.RecordReceiptsRequest())
