"""Single datasets for many callers at once, beside calls that do nothing behind the same interceptor."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from librarian.api.catalog.v1 import catalog_pb2
from tests.bench.bulk import name_of
from tests.bench.measurement import Bench, Measurement
from tests.bench.rows import Row, paired

DATASETS = 100_000
CALLERS = 16
CALLS = 8000


def get_dataset(bench: Bench) -> Iterator[Row]:
    bench.filled_site(bench.scaled(DATASETS))
    yield from asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Row]:
    direct, through, empty = list[float](), list[float](), list[float]()
    known = bench.filling.count
    async with (
        bench.site.channels() as channels,
        bench.empty_service.stub() as nothing,
        bench.site.site.client() as client,
    ):
        site = client._site

        def request() -> catalog_pb2.GetDatasetRequest:
            return catalog_pb2.GetDatasetRequest(name=name_of(random.randrange(known)))

        for number in range(bench.rounds(5) + 1):
            figures = (
                await _calls_per_second(lambda: channels.catalog.GetDataset(request())),
                await _calls_per_second(lambda: nothing.GetSummary(catalog_pb2.GetSummaryRequest())),
                await _calls_per_second(lambda: site.catalog.GetDataset(request(), metadata=site.metadata())),
            )
            if number:
                for kept, figure in zip((direct, empty, through), figures, strict=True):
                    kept.append(figure)
    limit = "empty unary call behind the same interceptor"
    name = f"GetDataset, {CALLERS} callers"
    return [
        paired(f"{name}, direct", direct, empty, limit_name=limit, unit="calls/s", target=0.4),
        paired(f"{name}, gateway", through, empty, limit_name=limit, unit="calls/s", target=None),
    ]


async def _calls_per_second(call: Callable[[], Awaitable[object]]) -> float:
    async def caller() -> None:
        for _ in range(CALLS // CALLERS):
            await call()

    begin = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return CALLS / (time.perf_counter() - begin)


MEASUREMENTS = [Measurement("get dataset", get_dataset)]
