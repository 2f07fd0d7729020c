"""Memory of the services: idle, and while much passes through them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from librarian.testing.site import Site
from tests.bench.data import GIB, remove
from tests.bench.listing import DATASETS
from tests.bench.measurement import Bench, Measurement
from tests.bench.processes import MIB, family, total_pss, watching
from tests.bench.put import DOOR, GATEWAY, put_seconds
from tests.bench.rows import Row, within
from tests.bench.sites import SERVICES

IDLE_MIB = 300.0
GROWTH_MIB = 150.0
_BARE = "import grpc.aio, uvloop, sys; print(flush=True); sys.stdin.read()"


def idle_site(bench: Bench) -> Iterator[Row]:
    """A site that has just been started, with its supervisor, without PostgreSQL."""
    home = bench.scratch / "idle"
    site = Site(home, name="idle")
    site.start()
    try:
        with site.blocking_client() as client:
            list(client.ls(limit=1))
        ours = total_pss(family(site.pid, without="postgres")) / MIB
    finally:
        site.stop()
        remove(home)
    yield within(
        "memory of an idle site (PSS, without PostgreSQL)",
        [ours],
        [_bare_processes(len(SERVICES))],
        budget=IDLE_MIB,
        limit_name=f"{len(SERVICES)} Python processes that have imported grpc.aio and uvloop",
        unit="MiB",
    )


def _bare_processes(count: int) -> float:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        return total_pss(process.pid for process in processes) / MIB


def streaming(bench: Bench) -> Iterator[Row]:
    source = bench.file(bench.scaled(4 * GIB))
    for way in (DOOR, GATEWAY):
        put_seconds(bench, bench.files(1, 1024) / "part_00000.g3", 1024, "sha256", way)
        with watching(bench.site.pids()) as growth:
            put_seconds(bench, source, bench.scaled(4 * GIB), "sha256", way)
        yield _growth(f"streaming {bench.scaled(4 * GIB) / GIB:g} GiB, {way.name}", growth)


def listing(bench: Bench) -> Iterator[Row]:
    count = bench.scaled(DATASETS)
    bench.filled_site(count)
    with watching(bench.site.pids()) as growth:
        listed = asyncio.run(_list_all(bench))
    assert listed >= count
    yield _growth(f"listing {count:,} datasets, gateway", growth)


async def _list_all(bench: Bench) -> int:
    async with bench.site.site.client() as client:
        return len([None async for _ in client.ls()])


def _growth(what: str, growth: dict[str, int]) -> Row:
    service = max(growth, key=lambda name: growth[name])
    return within(
        f"growth of the service that grows most ({service}) while {what}",
        [max(growth[service] / MIB, 0.1)],
        [GROWTH_MIB],
        budget=GROWTH_MIB,
        limit_name="what it may grow",
        unit="MiB",
    )


MEASUREMENTS = [
    Measurement("memory idle", idle_site),
    Measurement("memory streaming", streaming),
    Measurement("memory listing", listing),
]
