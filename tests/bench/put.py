"""Bringing data in, beside plain loops over the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench import plain, sink
from tests.bench.data import GIB, drain
from tests.bench.freshmemory import fresh_memory
from tests.bench.measurement import Bench, Measurement
from tests.bench.rows import Row, compare
from tests.bench.sites import STREAMED, closed_data_door

MEGABYTE = 1_000_000
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Way:
    """How bytes get in; `store` "" is the site's own, whose staging area clients see."""

    name: str
    store: str
    around: Callable[[], AbstractContextManager[None]] = nullcontext


LOCAL = Way("same file system", "")
DOOR = Way("store door", STREAMED)
GATEWAY = Way("gateway", STREAMED, closed_data_door)


def put_seconds(bench: Bench, source: Path, size: int, algorithm: str, way: Way) -> float:
    """From the call to the acknowledgement; the bytes are gone afterwards."""
    name = f"bench/{source.stem}-{next(_numbers)}"
    with bench.site.site.blocking_client() as client, way.around():
        drain()
        with fresh_memory(size):
            seconds = _timed(lambda: client.put(source, name, algorithm=algorithm, store=way.store))
    bench.site.forget_bytes(name)
    return seconds


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def put_file(algorithm: str) -> Callable[[Bench], Iterator[Row]]:
    def run(bench: Bench) -> Iterator[Row]:
        size = bench.scaled(4 * GIB)
        source = bench.file(size)

        def loop() -> float:
            destination = bench.output("plain")
            with fresh_memory(size):
                seconds = _timed(lambda: plain.copy_file(source, destination, algorithm))
            destination.unlink()
            return size / MEGABYTE / seconds

        yield compare(
            f"put one file of {size / GIB:g} GiB, {algorithm}, {LOCAL.name}",
            ours=lambda: size / MEGABYTE / put_seconds(bench, source, size, algorithm, LOCAL),
            limit=loop,
            limit_name="plain loop: read, hash, write, one fsync",
            unit="MB/s",
            target=0.75,
            rounds=bench.rounds(3),
        )

    return run


def put_streamed(way: Way, target: float) -> Callable[[Bench], Iterator[Row]]:
    def run(bench: Bench) -> Iterator[Row]:
        size = bench.scaled(4 * GIB)
        source = bench.file(size)

        def over_tcp() -> float:
            received = bench.output("received")
            received.mkdir()
            with sink.running_sink(received, "sha256") as port, fresh_memory(size):
                return size / MEGABYTE / _timed(lambda: sink.send_file(port, source))

        yield compare(
            f"put one file of {size / GIB:g} GiB, sha256, {way.name}",
            ours=lambda: size / MEGABYTE / put_seconds(bench, source, size, "sha256", way),
            limit=over_tcp,
            limit_name="bare loopback TCP into write, sha256, fsync",
            unit="MB/s",
            target=target,
            rounds=bench.rounds(3),
        )

    return run


def put_book(bench: Bench) -> Iterator[Row]:
    files = bench.scaled(50)
    size = 20 * MEGABYTE
    source = bench.files(files, size)
    for algorithm in ("sha256", "blake3"):

        def loop(algorithm: str = algorithm) -> float:
            destination = bench.output("plain-book")
            with fresh_memory(files * size):
                seconds = _timed(lambda: plain.copy_files(source, destination, algorithm))
            return files * size / MEGABYTE / seconds

        def ours(algorithm: str = algorithm) -> float:
            return files * size / MEGABYTE / put_seconds(bench, source, files * size, algorithm, LOCAL)

        yield compare(
            f"put a book of {files} x 20 MB, {algorithm}, {LOCAL.name}",
            ours=ours,
            limit=loop,
            limit_name="plain loop on all cores: read, hash, write, fsync each",
            unit="MB/s",
            target=0.75,
            rounds=bench.rounds(5),
        )


def put_each(bench: Bench) -> Iterator[Row]:
    files = bench.scaled(2000)
    source = bench.files(files, 1024)

    def loop() -> float:
        destination = bench.output("plain-small")
        begin = time.perf_counter()
        plain.copy_small_files(source, destination, "sha256")
        return files / (time.perf_counter() - begin)

    def ours() -> float:
        prefix = f"bench/each-{next(_numbers)}"
        with bench.site.site.blocking_client() as client:
            drain()
            begin = time.perf_counter()
            results = list(client.put_each(source, prefix))
            seconds = time.perf_counter() - begin
        assert len(results) == files
        assert all(result.error is None for result in results)
        bench.site.forget_bytes(prefix)
        return files / seconds

    yield compare(
        f"put --each of {files} x 1 KiB, sha256, {LOCAL.name}",
        ours=ours,
        limit=loop,
        limit_name="plain loop: read, hash, write, fsync, rename",
        unit="files/s",
        target=0.7,
        rounds=bench.rounds(5),
    )


MEASUREMENTS = [
    Measurement("put file sha256", put_file("sha256")),
    Measurement("put file blake3", put_file("blake3")),
    Measurement("put stream store door", put_streamed(DOOR, 0.75)),
    Measurement("put stream gateway", put_streamed(GATEWAY, 0.45)),
    Measurement("put book", put_book),
    Measurement("put each", put_each),
]
