"""Bulk registration, beside psql's copy of the very rows it wrote into equal tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from tests.bench import bulk
from tests.bench.measurement import Bench, Measurement
from tests.bench.psql import Psql
from tests.bench.rows import Row, paired


def register_datasets(bench: Bench) -> Iterator[Row]:
    settings = bench.site.settings("catalog").catalog
    psql = Psql(settings.dsn, settings.schema, bench.scratch)
    size = bench.scaled(50_000)
    values: list[float] = []
    limits: list[float] = []
    psql.drop_tables()
    psql.make_tables()
    try:
        for number in range(bench.rounds(5) + 1):
            numbers = bench.filling.take(size)
            messages = bulk.requests(numbers)
            registered = asyncio.run(_register_seconds(bench, messages, size))
            psql.export((bulk.name_of(numbers.first), bulk.name_of(numbers.first + size - 1)))
            begin = time.perf_counter()
            psql.load()
            if number:
                values.append(size / registered)
                limits.append(size / (time.perf_counter() - begin))
    finally:
        psql.drop_tables()
    yield paired(
        f"RegisterDatasets, {size} in batches of {bulk.BATCH}, direct",
        values,
        limits,
        limit_name="psql \\copy of the same rows into the same indexed tables",
        unit="datasets/s",
        target=0.4,
    )


async def _register_seconds(bench: Bench, messages: list[bulk.Request], size: int) -> float:
    async with bench.site.channels() as channels:
        begin = time.perf_counter()
        published = await bulk.register(channels.catalog, messages)
        seconds = time.perf_counter() - begin
    assert published == size
    return seconds


MEASUREMENTS = [Measurement("register", register_datasets)]
