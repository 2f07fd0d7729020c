"""ListDatasets: what matches, in order, each exactly once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.catalog_site import BIRTH_US, Catalog, Held, Made

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import InvalidGlob, InvalidInput, InvalidPageToken
from librarian.globs import compile_glob
from librarian.messages import timestamp_of_microseconds

NAME, TIME, TIME_DESC = (
    pb.DATASET_ORDER_NAME,
    pb.DATASET_ORDER_CREATE_TIME,
    pb.DATASET_ORDER_CREATE_TIME_DESC,
)
SUSPECT = common_pb2.REPLICA_STATE_SUSPECT
STEP_US = 1_500_000


async def pages(catalog: Any, *, size: int = 0, order: int = 0, **fields: Any) -> list[list[pb.Dataset]]:
    """`catalog`: a stub."""
    found, token = [], ""
    while True:
        request = pb.ListDatasetsRequest(
            page_size=size, order=order, page_token=token, filter=pb.DatasetFilter(**fields)
        )
        answer = await catalog.ListDatasets(request)
        found.append(list(answer.datasets))
        token = answer.next_page_token
        if not token:
            return found


async def names(catalog: Any, **fields: Any) -> list[str]:
    return [dataset.name for page in await pages(catalog, **fields) for dataset in page]


class Model:
    """The same catalogue as a list, filtered naively."""

    def __init__(self) -> None:
        self.made = [
            Made(
                f"{telescope}/{kind}/{number:02}{accent}",
                size=number * 10,
                uploader=("packager", "ana")[number % 2],
                created_us=BIRTH_US + (number // 2) * STEP_US,
                tags={"tel": telescope} | ({"night": ""} if number % 3 == 0 else {"night": str(number % 3)}),
                store=("main", "disk")[number % 5 == 0],
            )
            for telescope in ("lat", "satp1", "satp2")
            for kind in ("obs", "hk")
            for number in range(6)
            for accent in ("", "-\u00e9")
        ]
        self.suspect = set(self.made[::7])
        self.twice = set(self.made[::4])
        self.held = {"nersc": set(self.made[::3]), "princeton": set(self.made[::10])}

    async def publish(self, catalog: Catalog) -> None:
        await catalog.publish(*self.made)
        await catalog.register([Made(each.name) for each in sorted(self.twice, key=hash)], store="tape")
        await catalog.update(
            *(pb.ReplicaUpdate(uid=each.uid, store=each.store, state=SUSPECT) for each in self.suspect)
        )
        await catalog.record(
            *(
                Held(made, site, store).record()
                for site, there in self.held.items()
                for made in there
                for store in ("cfs", "tape")
            )
        )

    def available_on(self, made: Made) -> set[str]:
        own = set() if made in self.suspect else {made.store}
        return own | ({"tape"} if made in self.twice else set())

    def expected_on(self, made: Made) -> set[str]:
        return {made.store} | ({"tape"} if made in self.twice else set())

    def matches(self, made: Made, wanted: pb.DatasetFilter) -> bool:
        return all(
            (
                made.name.startswith(wanted.name_prefix),
                not wanted.name_glob or compile_glob(wanted.name_glob).matches(made.name),
                not wanted.uploader or made.uploader == wanted.uploader,
                all(key in made.tags and value in {"", made.tags[key]} for key, value in wanted.tags.items()),
                not wanted.HasField("min_size_bytes") or made.size >= wanted.min_size_bytes,
                not wanted.HasField("max_size_bytes") or made.size <= wanted.max_size_bytes,
                not wanted.HasField("created_after") or made.created_us >= us(wanted.created_after),
                not wanted.HasField("created_before") or made.created_us < us(wanted.created_before),
                not wanted.has_store or wanted.has_store in self.available_on(made),
                not wanted.lacks_store or wanted.lacks_store not in self.available_on(made),
                not wanted.expected_store or wanted.expected_store in self.expected_on(made),
                not wanted.has_replica_state or made in self.suspect,
                not wanted.has_site or made in self.held.get(wanted.has_site, ()),
                not wanted.lacks_site or made not in self.held.get(wanted.lacks_site, ()),
            )
        )

    def listing(self, wanted: pb.DatasetFilter, order: int) -> list[str]:
        found = [made for made in self.made if self.matches(made, wanted)]
        if order in {0, NAME}:
            found.sort(key=lambda made: made.name.encode())
        else:
            found.sort(key=lambda made: (made.created_us, made.uid), reverse=order == TIME_DESC)
        return [made.name for made in found]


def us(moment: Any) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


times = st.integers(0, 4).map(lambda number: timestamp_of_microseconds(BIRTH_US + number * STEP_US))
filters = st.fixed_dictionaries(
    {},
    optional={
        "name_prefix": st.sampled_from(["lat", "lat/", "satp", "satp1/obs/0", "x", "satp2/hk/01-\u00e9"]),
        "name_glob": st.sampled_from(["*/obs/*", "satp?/**", "**/03*", "lat/*", "satp[12]/h?/*-*"]),
        "uploader": st.sampled_from(["packager", "ana", "nobody"]),
        "tags": st.dictionaries(st.sampled_from(["tel", "night", "none"]), st.sampled_from(["", "lat", "1"])),
        "min_size_bytes": st.integers(0, 60),
        "max_size_bytes": st.integers(0, 60),
        "created_after": times,
        "created_before": times,
        "has_store": st.sampled_from(["main", "disk", "tape", "none"]),
        "lacks_store": st.sampled_from(["main", "disk", "tape", "none"]),
        "expected_store": st.sampled_from(["main", "disk", "tape", "none"]),
        "has_replica_state": st.just(SUSPECT),
        "has_site": st.sampled_from(["nersc", "princeton", "none"]),
        "lacks_site": st.sampled_from(["nersc", "princeton", "none"]),
    },
)


async def test_filters_orders_and_pages_agree_with_a_naive_model(catalog: Catalog) -> None:
    model = Model()
    await model.publish(catalog)
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(filters, st.sampled_from([0, NAME, TIME, TIME_DESC]), st.integers(1, 30))
    def check(fields: dict[str, Any], order: int, size: int) -> None:
        listing = pages(catalog.stub, size=size, order=order, **fields)
        found = asyncio.run_coroutine_threadsafe(listing, loop).result(30)
        assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
        assert len(found) == 1 or found[-1]
        wanted = model.listing(pb.DatasetFilter(**fields), order)
        assert [dataset.name for page in found for dataset in page] == wanted

    await asyncio.to_thread(check)


async def test_replicas_are_filled_when_asked_for(catalog: Catalog) -> None:
    await catalog.publish(Made("a", tags={"k": "v"}), Made("b"))
    await catalog.register([Made("b")], store="disk")
    bare = await catalog.stub.ListDatasets(pb.ListDatasetsRequest())
    full = await catalog.stub.ListDatasets(pb.ListDatasetsRequest(with_replicas=True))
    assert [len(each.replicas) for each in bare.datasets] == [0, 0]
    assert [[replica.store for replica in each.replicas] for each in full.datasets] == [
        ["main"],
        ["disk", "main"],
    ]
    assert full.datasets[0] == await catalog.get("a")


async def test_a_page_token_is_bound_to_filter_order_and_caller(catalog: Catalog) -> None:
    await catalog.publish(*(Made(f"a/{number}") for number in range(5)))
    first = pb.ListDatasetsRequest(page_size=2, filter=pb.DatasetFilter(name_prefix="a"))
    token = (await catalog.stub.ListDatasets(first)).next_page_token
    assert token
    for other in (
        pb.ListDatasetsRequest(page_token=token),
        pb.ListDatasetsRequest(page_token=token, filter=pb.DatasetFilter(name_prefix="a/")),
        pb.ListDatasetsRequest(page_token=token, filter=first.filter, order=TIME),
        pb.ListDatasetsRequest(page_token=token[:-1], filter=first.filter),
        pb.ListDatasetsRequest(page_token="?", filter=first.filter),
    ):
        with pytest.raises(InvalidPageToken):
            await catalog.stub.ListDatasets(other)
    same = pb.ListDatasetsRequest(page_token=token, filter=first.filter, order=NAME, page_size=1)
    with pytest.raises(InvalidPageToken):
        await (await catalog.as_client(prefix="a/**")).ListDatasets(same)
    # Another page size is no other listing.
    assert [each.name for each in (await catalog.stub.ListDatasets(same)).datasets] == ["a/2"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.ListDatasetsRequest(page_size=-1), InvalidInput),
        (pb.ListDatasetsRequest(order=99), InvalidInput),
        (pb.ListDatasetsRequest(filter=pb.DatasetFilter(name_glob="[")), InvalidGlob),
        (pb.ListDatasetsRequest(filter=pb.DatasetFilter(uploader="\0")), InvalidInput),
    ],
)
async def test_listings_that_make_no_sense(
    catalog: Catalog, request_: pb.ListDatasetsRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await catalog.stub.ListDatasets(request_)


async def test_a_page_holds_at_most_a_thousand(catalog: Catalog) -> None:
    await catalog.register([Made(f"n/{number:04}") for number in range(1005)])
    found = await pages(catalog.stub, size=5000)
    assert [len(page) for page in found] == [1000, 5]
    assert [len(page) for page in await pages(catalog.stub)] == [100] * 10 + [5]


async def test_a_limited_token_lists_only_its_own(catalog: Catalog) -> None:
    await catalog.publish(*(Made(name) for name in ("lat/1", "satp3/1", "satp3/2", "satp30/1", "zz")))
    client = await catalog.as_client(prefix="satp3/**")
    for order in (NAME, TIME, TIME_DESC):
        assert sorted(await names(client, order=order, size=1)) == ["satp3/1", "satp3/2"]
    assert await names(client, name_prefix="lat") == []
    assert await names(client, name_glob="**/1") == ["satp3/1"]
    wild = await catalog.as_client(prefix="*/1")
    assert await names(wild) == ["lat/1", "satp3/1", "satp30/1"]


@pytest.mark.parametrize("order", [NAME, TIME, TIME_DESC])
async def test_what_is_there_throughout_is_listed_once_while_others_come(
    catalog: Catalog, order: int, rng: random.Random
) -> None:
    def some(count: int, kind: str) -> list[Made]:
        return [
            Made(f"n/{rng.randrange(10**9)}-{kind}{number}", created_us=BIRTH_US + rng.randrange(10**6))
            for number in range(count)
        ]

    there = some(300, "there")
    await catalog.publish(*there)
    listed: list[str] = []
    stop = asyncio.Event()

    async def go_on_publishing() -> None:
        batch = 0
        while not stop.is_set():
            await catalog.publish(*some(20, f"new{batch}-"))
            batch += 1

    publisher = asyncio.create_task(go_on_publishing())
    listed = await names(catalog.stub, size=7, order=order)
    stop.set()
    await publisher
    assert len(listed) == len(set(listed))
    assert {made.name for made in there} <= set(listed)
