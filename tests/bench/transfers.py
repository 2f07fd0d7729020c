"""Two sites: what the talk about a dataset costs, how full a thin wire gets, and what idling takes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import psutil

from librarian.api.transfer.v1 import transfer_pb2
from librarian.testing.link import Link
from librarian.testing.site import Site
from standalone.home import Home
from tests.bench.data import make_files, remove
from tests.bench.measurement import Bench, Measurement
from tests.bench.processes import family
from tests.bench.rows import Row, paired
from tests.bench.streams import bare_stream_bytes_per_second

WIRE_BITS_PER_SECOND = 50_000_000
DATASETS_PER_SECOND = 200.0
STATEMENTS_PER_DATASET = 12.0
FLATNESS = 1.3
IDLE_SHARE = 0.03
IDLE_DATASETS = 100_000
IDLE_ROUTES = 10
_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 75.0
_PATIENCE_SECONDS = 1500.0
_STATEMENT = re.compile(rb"LOG: +(?:statement|execute [^:]*):")
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Pair:
    """`here` sends to `there`, over `wire`."""

    here: Site
    there: Site
    wire: Link

    def route(self, glob: str, via: str) -> None:
        landing = str(self.there.store_root) if via == "posix" else ""
        route = transfer_pb2.Route(
            destination="there", name_glob=glob, via=via, landing=landing, max_active=4000
        )
        with self.here.blocking_client() as client:
            client.add_route(route)

    def wait(self, prefix: str, datasets: int) -> None:
        """Until so many of them are known here to be there."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self.here.blocking_client() as client:
            while True:
                status = client.transfer_status()
                waiting = sum(queue.waiting_count + queue.active_count for queue in status.queues)
                held = sum(queue.held_count + queue.failed_count for queue in status.queues)
                assert not held, f"{held} transfers are held"
                if not waiting:
                    done = [transfer_pb2.TRANSFER_STATE_VERIFIED]
                    if len(list(client.transfers(states=done, name_glob=f"{prefix}/*"))) >= datasets:
                        return
                assert time.monotonic() < deadline, f"{waiting} still on their way"
                time.sleep(_LOOK_SECONDS)


@contextmanager
def running_pair(scratch: Path, bits_per_second: int = 0) -> Iterator[Pair]:
    with ExitStack() as stack:
        wire = stack.enter_context(Link(bits_per_second))
        homes = scratch / f"pair-{next(_numbers)}"
        stack.callback(remove, homes)
        here = Site(homes / "here", name="here", durable=True)
        public = f'[gateway]\npublic_address = "grpc://{wire.address}"'
        there = Site(homes / "there", name="there", settings=public, durable=True)
        for site in (here, there):
            stack.callback(site.stop)
            site.start()
        wire.lead_to(there.address)
        with here.blocking_client() as near, there.blocking_client() as far:
            near.join_peer(far.invite_peer("here").code)
        yield Pair(here, there, wire)


def orchestration(bench: Bench) -> Iterator[Row]:
    many, few = bench.scaled(10_000), bench.scaled(1_000)
    with running_pair(bench.scratch) as pair:
        _send_files(pair, bench, few)
        costs = [_send_files(pair, bench, number) / number for number in (few, many)]
        with counted_statements(pair.here, pair.there) as statements:
            _send_files(pair, bench, few)
    yield _at_least(
        f"transfers of {many:,} x 1 KiB by posix, queued to receipted",
        1 / costs[1],
        DATASETS_PER_SECOND,
        "what is wanted",
        "datasets/s",
    )
    yield _at_most(
        f"time of a transfer among {many:,}, beside one among {few:,}",
        costs[1] * 1000,
        costs[0] * 1000,
        f"one among {few:,}",
        "ms",
        target=1 / FLATNESS,
    )
    yield _at_most(
        "SQL statements of a transfer, both sites",
        statements[0] / few,
        STATEMENTS_PER_DATASET,
        "what is wanted",
        "statements",
        target=1.0,
    )


def _send_files(pair: Pair, bench: Bench, number: int) -> float:
    """Seconds from the route, for datasets that are published, to the last receipt here."""
    source = bench.scratch / f"small-{next(_numbers)}"
    make_files(source, number, 1024)
    prefix = f"bench/{source.name}"
    with pair.here.blocking_client() as client:
        assert all(result.error is None for result in client.put_each(source, prefix))
        begin = time.perf_counter()
        landing = str(pair.there.store_root)
        route = transfer_pb2.Route(
            destination="there", name_glob=f"{prefix}/*", via="posix", landing=landing, max_active=4000
        )
        client.add_route(route, backfill=True)
    pair.wait(prefix, number)
    seconds = time.perf_counter() - begin
    remove(source)
    return seconds


def thin_wire(bench: Bench) -> Iterator[Row]:
    size = bench.scaled(120_000_000)
    with running_pair(bench.scratch, WIRE_BITS_PER_SECOND) as pair:
        pair.route("warm/*", "stream")
        pair.route("bench/*", "stream")
        _send_one(pair, bench.file(1 << 20), "warm/up")
        seconds = _send_one(pair, bench.file(size), "bench/thin")
    yield _at_least(
        f"{size / 1e6:g} MB by stream over a wire of {WIRE_BITS_PER_SECOND / 1e6:g} Mb/s, put to receipt",
        size * 8 / seconds / 1e6,
        WIRE_BITS_PER_SECOND / 1e6,
        "the wire",
        "Mb/s",
        target=0.9,
    )


def wide_wire(bench: Bench) -> Iterator[Row]:
    size = bench.scaled(2 << 30)
    source = bench.file(size)
    values, limits = [], []
    with running_pair(bench.scratch) as pair:
        # Straight to the other gateway: the wire of a test is a process's thread, and no faster.
        with pair.here.blocking_client() as client:
            client.set_peer("there", address=f"grpc://{pair.there.address.rpartition('://')[2]}")
        pair.route("bench/*", "stream")
        for number in range(bench.rounds(2)):
            name = f"bench/wide-{number}"
            with pair.here.blocking_client() as client:
                client.put(source, name)
            values.append(_moved_bytes_per_second(pair, name))
            limits.append(bare_stream_bytes_per_second(source))
    yield paired(
        f"{size / (1 << 30):g} GiB by stream over loopback, first byte to last",
        [value / 1e6 for value in values],
        [limit / 1e6 for limit in limits],
        limit_name="bare grpc.aio byte stream into sha256",
        unit="MB/s",
        target=0.4,
    )


def _send_one(pair: Pair, source: Path, name: str) -> float:
    """Seconds from its publication to its receipt."""
    with pair.here.blocking_client() as client:
        client.put(source, name)
    begin = time.perf_counter()
    pair.wait(name.partition("/")[0], 1)
    return time.perf_counter() - begin


def _moved_bytes_per_second(pair: Pair, name: str) -> float:
    """By the transfer's own log: from the landing given to the last byte moved."""
    pair.wait("bench", 1)
    with pair.here.blocking_client() as client:
        [transfer] = list(client.transfers(name_glob=name))
        log = client.transfer(transfer.transfer_id).log
    times = {entry.event: entry.time.ToNanoseconds() / 1e9 for entry in log}
    return float(transfer.size_bytes / (times["DELIVERED"] - times["ACCEPTED"]))


def idle(bench: Bench) -> Iterator[Row]:
    from tests.bench.bulk import Filling
    from tests.bench.sites import BenchSite

    seconds = 60.0
    with running_pair(bench.scratch) as pair:

        async def fill(site: Site) -> None:
            async with BenchSite(site, site.store_root).channels() as channels:
                await Filling().fill_to(bench.scaled(IDLE_DATASETS), channels.catalog)

        for site in (pair.here, pair.there):
            asyncio.run(fill(site))
        for number in range(IDLE_ROUTES):
            pair.route(f"nothing/{number}/**", "stream")
        # Until they have seen that nothing comes, and ask one another less often.
        time.sleep(_SETTLE_SECONDS)
        pids = [pid for site in (pair.here, pair.there) for pid in family(site.pid, without="none")]
        before = _cpu_seconds(pids)
        time.sleep(seconds)
        share = (_cpu_seconds(pids) - before) / seconds
    yield _at_most(
        f"two idle sites, {bench.scaled(IDLE_DATASETS):,} datasets, {IDLE_ROUTES} routes, with PostgreSQL",
        share * 100,
        IDLE_SHARE * 100,
        "what is wanted",
        "% of a core",
        target=1.0,
    )


def _cpu_seconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


@contextmanager
def counted_statements(*sites: Site) -> Iterator[list[int]]:
    """How many statements their PostgreSQL was given inside the block; filled in when it ends."""
    counted = [0]
    logs = [site.home / "logs" / "postgres.log" for site in sites]
    for site in sites:
        asyncio.run(_log_statements(site, "all"))
    marks = [log.stat().st_size for log in logs]
    try:
        yield counted
    finally:
        for log, mark in zip(logs, marks, strict=True):
            with log.open("rb") as file:
                file.seek(mark)
                counted[0] += sum(1 for line in file if _STATEMENT.search(line))
        for site in sites:
            asyncio.run(_log_statements(site, "none"))


async def _log_statements(site: Site, which: str) -> None:
    """As the embedded server's superuser, which only the owner of its home can be."""
    home = Home(site.home)
    connection = await asyncpg.connect(
        host=str((site.home / "run").resolve()),
        user="librarian",
        password=home.secret("postgres.password"),
        database="postgres",
    )
    try:
        await connection.execute(f"ALTER SYSTEM SET log_statement = '{which}'")
        await connection.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(1.0)
    finally:
        await connection.close()


def _at_least(
    name: str, value: float, wanted: float, limit_name: str, unit: str, *, target: float = 1.0
) -> Row:
    return paired(name, [value], [wanted], limit_name=limit_name, unit=unit, target=target)


def _at_most(name: str, value: float, wanted: float, limit_name: str, unit: str, *, target: float) -> Row:
    return paired(name, [value], [wanted], limit_name=limit_name, unit=unit, target=target, better="lower")


MEASUREMENTS = [
    Measurement("transfer orchestration", orchestration),
    Measurement("transfer thin wire", thin_wire),
    Measurement("transfer wide wire", wide_wire),
    Measurement("transfer idle", idle),
]
