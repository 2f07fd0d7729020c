"""Pages of a large catalogue, beside the bare query for the same page and a call that does nothing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from librarian.api.catalog.v1 import catalog_pb2
from librarian.messages import timestamp_of_microseconds
from svckit.database import plain_dsn
from tests.bench.bulk import FIRST_SECOND, PREFIX, name_of
from tests.bench.measurement import Bench, Measurement
from tests.bench.rows import Row, paired

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub

DATASETS = 1_000_000
PAGE_SIZE = 100
DEEP_PAGE = 9000
CALLS = 200
_COLUMNS = """uid, name, kind, state, digest_algorithm, digest, size_bytes, member_count, create_time_us,
    publish_time_us, uploader, site, traceparent, tags, origin"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A listing: the request without its page token, and the bare query for the page after dataset
    number `$1` (-1: the first page).
    """

    name: str
    request: catalog_pb2.ListDatasetsRequest
    sql: str
    argument: Callable[[int], object]


BY_PREFIX = Kind(
    "prefix",
    catalog_pb2.ListDatasetsRequest(
        page_size=PAGE_SIZE, filter=catalog_pb2.DatasetFilter(name_prefix=PREFIX)
    ),
    f"""SELECT {_COLUMNS} FROM datasets WHERE state = 1 AND name > $1 AND name < '{PREFIX[:-1]}0'
        ORDER BY name LIMIT {PAGE_SIZE + 1}""",
    lambda number: name_of(number) if number >= 0 else PREFIX,
)
BY_TIME = Kind(
    "time window",
    catalog_pb2.ListDatasetsRequest(
        page_size=PAGE_SIZE,
        order=catalog_pb2.DATASET_ORDER_CREATE_TIME,
        filter=catalog_pb2.DatasetFilter(
            created_after=timestamp_of_microseconds(FIRST_SECOND * 1_000_000),
            created_before=timestamp_of_microseconds((FIRST_SECOND + 10 * DATASETS) * 1_000_000),
        ),
    ),
    f"""SELECT {_COLUMNS} FROM datasets WHERE state = 1 AND create_time_us > $1
        AND create_time_us < {(FIRST_SECOND + 10 * DATASETS) * 1_000_000}
        ORDER BY create_time_us, uid LIMIT {PAGE_SIZE + 1}""",
    lambda number: (FIRST_SECOND + number) * 1_000_000,
)


def list_pages(kind: Kind) -> Callable[[Bench], Iterator[Row]]:
    def run(bench: Bench) -> Iterator[Row]:
        yield from asyncio.run(_measure(bench, kind))

    return run


async def _measure(bench: Bench, kind: Kind) -> list[Row]:
    deep = bench.scaled(DEEP_PAGE) - 1
    bare: list[float] = []
    first, last, through = list[float](), list[float](), list[float]()
    async with (
        bench.site.channels() as channels,
        bench.empty_service.stub() as empty,
        _connection(bench) as connection,
        bench.site.site.client() as client,
    ):
        token = await _token_of_page(channels.catalog, kind, deep)
        page = _page(channels.catalog, kind, token)
        answer = await page()
        assert answer.datasets[0].name == name_of(deep * PAGE_SIZE)
        by_gateway = _page(client._site.catalog, kind, token, metadata=client._site.metadata())
        statement = await connection.prepare(kind.sql)
        for number in range(bench.rounds(5) + 1):
            figures = (
                await _median_ms(_page(channels.catalog, kind, "")),
                await _median_ms(page),
                await _median_ms(by_gateway),
                await _median_ms(lambda: statement.fetch(kind.argument(deep * PAGE_SIZE - 1)))
                + await _median_ms(lambda: empty.GetSummary(catalog_pb2.GetSummaryRequest())),
            )
            if number:
                for kept, figure in zip((first, last, through, bare), figures, strict=True):
                    kept.append(figure)
    where = f"of {kind.name}, page {deep + 1:,}"
    return [
        paired(
            f"ListDatasets {where}, direct",
            last,
            bare,
            limit_name="bare asyncpg query for that page + a call that does nothing",
            unit="ms",
            target=1 / 3,
            better="lower",
        ),
        paired(
            f"ListDatasets {where}, gateway",
            through,
            bare,
            limit_name="the same, without a gateway",
            unit="ms",
            target=None,
            better="lower",
        ),
        paired(
            f"ListDatasets {where}, beside the first, direct",
            last,
            first,
            limit_name="page 1 of the same listing",
            unit="ms",
            target=1 / 1.5,
            better="lower",
        ),
    ]


def _page(
    stub: CatalogServiceAsyncStub, kind: Kind, token: str, **options: Any
) -> Callable[[], Awaitable[catalog_pb2.ListDatasetsResponse]]:
    request = catalog_pb2.ListDatasetsRequest()
    request.CopyFrom(kind.request)
    request.page_token = token
    return lambda: stub.ListDatasets(request, **options)


async def _token_of_page(stub: CatalogServiceAsyncStub, kind: Kind, pages: int) -> str:
    """Walks there, ten pages a call as far as that goes."""
    token = ""
    while pages:
        step = min(10, pages)
        request = catalog_pb2.ListDatasetsRequest()
        request.CopyFrom(kind.request)
        request.page_size, request.page_token = step * PAGE_SIZE, token
        token = (await stub.ListDatasets(request)).next_page_token
        pages -= step
    return token


async def _median_ms(call: Callable[[], Awaitable[object]]) -> float:
    seconds = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds)


@asynccontextmanager
async def _connection(bench: Bench) -> AsyncIterator[asyncpg.Connection[Any]]:
    settings = bench.site.settings("catalog").catalog
    connection = await asyncpg.connect(
        plain_dsn(settings.dsn), server_settings={"search_path": settings.schema}
    )
    try:
        yield connection
    finally:
        await connection.close()


def _filled(run: Callable[[Bench], Iterator[Row]]) -> Callable[[Bench], Iterator[Row]]:
    def filled(bench: Bench) -> Iterator[Row]:
        bench.filled_site(bench.scaled(DATASETS))
        return run(bench)

    return filled


MEASUREMENTS = [
    Measurement("list prefix", _filled(list_pages(BY_PREFIX))),
    Measurement("list time window", _filled(list_pages(BY_TIME))),
]
