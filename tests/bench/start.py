"""How long people wait for a command, beside a Python that imports grpc and does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from librarian.testing.site import Site
from tests.bench.data import remove
from tests.bench.measurement import Bench, Measurement
from tests.bench.rows import Row, within

BARE = [sys.executable, "-c", "import grpc"]
BARE_NAME = "python -c 'import grpc'"
# The aims are "about" so many seconds.
ABOUT = 1.2


def help_text(bench: Bench) -> Iterator[Row]:
    yield _beside_bare(
        bench, "librarian --help", lambda: _seconds([_program(), "--help"], {}), budget=0.3 * ABOUT
    )


def first_answer(bench: Bench) -> Iterator[Row]:
    environment = bench.site.site.environment
    yield _beside_bare(
        bench,
        "librarian ls, site running",
        lambda: _seconds([_program(), "ls", "bench/nothing"], environment),
        budget=0.5 * ABOUT,
    )


def second_up(bench: Bench) -> Iterator[Row]:
    """Of a home that has been used before, until it answers."""
    home = bench.scratch / "again"
    site = Site(home, name="again", durable=True)
    site.start()
    site.stop()

    def start() -> float:
        begin = time.perf_counter()
        site.start()
        seconds = time.perf_counter() - begin
        site.stop()
        return seconds

    yield _beside_bare(bench, "librarian up, the second time, until ready", start, budget=3 * ABOUT)
    remove(home)


def _beside_bare(bench: Bench, name: str, ours: Callable[[], float], *, budget: float) -> Row:
    values: list[float] = []
    limits: list[float] = []
    for number in range(bench.rounds(5) + 1):
        figures = ours(), _seconds(BARE, {})
        if number:
            values.append(figures[0])
            limits.append(figures[1])
    return within(name, values, limits, budget=budget, limit_name=BARE_NAME, unit="s")


def _seconds(command: list[str], environment: Mapping[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment or None)
    return time.perf_counter() - begin


def _program() -> str:
    return str(Path(sys.executable).with_name("librarian"))


MEASUREMENTS = [
    Measurement("start help", help_text),
    Measurement("start ls", first_answer),
    Measurement("start up", second_up),
]
