"""The plug pulled on two whole sites: each of their processes dies at each of its failpoints while a batch
goes over, and the wire breaks after each of its bytes; nothing is done about it.

The default run takes a seeded choice of all those places, the slow one takes them all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.crossing import Crossing
from support.paired import Sites, add_route
from support.plug import MOST_STEPS, Plug

from librarian.blocking import Librarian

# They share two sites, which take some time to start.
pytestmark = pytest.mark.xdist_group("two sites crash")
# A process that dies holds its leases until they end, and an abandoned ingest lives its lifetime.
SETTINGS = """
[faults]
file = "{home}/faults"
[transfer]
ingest_lifetime_seconds = 3
[worker]
lease_seconds = 1.0
poll_seconds = 0.2
"""
PROCESSES = (
    *[("mountain", process) for process in ("worker", "transfer", "catalog")],
    *[("centre", process) for process in ("gateway", "transfer", "worker", "store", "catalog")],
)
# Of all places where a process may die or the wire may break, in the default run.
CHOSEN = 8
# Replies are longer: one is lost at least at each.
STRIDE_BYTES = 60


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with Sites() as sites:
        sites.start("mountain", settings=SETTINGS)
        sites.start("centre", settings=SETTINGS)
        sites.pair("mountain", "centre")
        add_route(sites["mountain"], "centre", "crash/**")
        yield sites


@pytest.fixture
def clients(sites: Sites) -> Iterator[dict[str, Librarian]]:
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(sites[name].blocking_client()) for name in ("mountain", "centre")
        }
        for client in clients.values():
            # A client that was answered once has patience with a restart.
            client.status()
        yield clients


class Lab:
    """Crossings, one after another, each disturbed in one way."""

    def __init__(self, sites: Sites, clients: dict[str, Librarian], folder: Path, rng: random.Random) -> None:
        self.sites = sites
        self._clients = clients
        self._folder = folder
        self._rng = rng

    def crossing(self, prefix: str) -> Crossing:
        return Crossing(self.sites, self._clients, f"crash/{prefix}", self._folder, self._rng)

    def traces(self) -> dict[tuple[str, str], list[str]]:
        """The failpoints that each process passes when nothing happens."""
        crossing = self.crossing("undisturbed")
        plugs = {each: Plug(self.sites[each[0]], each[1]) for each in PROCESSES}
        for plug in plugs.values():
            plug.watch()
        crossing.begin()
        crossing.until_over()
        for plug in plugs.values():
            plug.remove()
        return {each: plug.trace() for each, plug in plugs.items() if plug.trace()}

    def kill(self, site: str, process: str, number: int) -> str:
        """The failpoint it died at; "" when all was over before."""
        crossing = self.crossing(f"{site}-{process}-{number}")
        plug = Plug(self.sites[site], process)
        plug.set(number)
        try:
            crossing.begin()
            crossing.until_over()
            name = plug.pulled()
        except BaseException as error:
            error.add_note(f"{site}'s {process} killed at {number}: {' '.join(plug.trace())}")
            raise
        finally:
            plug.remove()
        crossing.until_over()
        return name

    def snap(self, way: str, count: int) -> None:
        """The wire breaks after so many bytes of that way."""
        crossing = self.crossing(f"{way}-{count}")
        wire = self.sites.wires["centre"]
        wire.snap(carried=count if way == "carried" else None, returned=count if way == "returned" else None)
        try:
            crossing.begin()
            crossing.until_over()
        except BaseException as error:
            error.add_note(f"the wire broke when {count} bytes were {way}")
            raise
        finally:
            wire.snap()

    def span(self, way: str) -> int:
        """How many bytes go that way when nothing happens."""
        wire = self.sites.wires["centre"]
        before = wire.carried_bytes, wire.returned_bytes
        crossing = self.crossing(f"{way}-whole")
        crossing.begin()
        crossing.until_over()
        after = wire.carried_bytes, wire.returned_bytes
        return after[way == "returned"] - before[way == "returned"]


@pytest.fixture
def lab(sites: Sites, clients: dict[str, Librarian], tmp_path: Path, rng: random.Random) -> Lab:
    return Lab(sites, clients, tmp_path, rng)


def test_killed_here_and_there(lab: Lab, rng: random.Random) -> None:
    traces = lab.traces()
    assert {"worker", "catalog"} <= {process for site, process in traces if site == "mountain"}
    assert {"gateway", "transfer", "worker", "store"} <= {p for site, p in traces if site == "centre"}
    # A wait that was cut in two more pieces passes a failpoint more: the last ones may not be reached.
    places = [(*each, number) for each, trace in traces.items() for number in range(1, len(trace))]
    print(f"{len(places)} places: { {'.'.join(each): len(trace) for each, trace in traces.items()} }")
    for site, process, number in sorted(rng.sample(places, CHOSEN)):
        print(f"{site}'s {process} at {number}: {lab.kill(site, process, number) or 'was not reached'}")


def test_the_wire_breaks_here_and_there(lab: Lab, rng: random.Random) -> None:
    for way in ("carried", "returned"):
        span = lab.span(way)
        counts = sorted(rng.sample(range(1, span), CHOSEN // 2))
        print(f"{way}: after {counts} of {span} bytes")
        for count in counts:
            lab.snap(way, count)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("site", "process"), PROCESSES)
def test_killed_at_each_step(lab: Lab, site: str, process: str) -> None:
    killed = []
    for number in itertools.count(1):
        assert number < MOST_STEPS, "more steps than there can be"
        name = lab.kill(site, process, number)
        if not name:
            break
        killed.append(name)
    print(f"{site}'s {process} was killed at: {' '.join(killed)}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", ["carried", "returned"])
def test_the_wire_breaks_after_each_message(lab: Lab, way: str) -> None:
    for count in range(1, lab.span(way), STRIDE_BYTES):
        lab.snap(way, count)
