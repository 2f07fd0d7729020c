"""Promise 1, with the plug pulled: each process of a site is killed at each of its failpoints during an
ingest; the supervisor starts it again, and nothing else is done about it.

SQLite's manner: die at the first failpoint, then at the second, ... until the scenario ends before the
process has died. After each: exactly one outcome, the right bytes; after all: nothing left behind.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.data import contents, make_book
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind
from support.plug import MOST_STEPS, Plug, after_restart
from support.raw_ingest import RawIngest

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.testing.site import Site, remove_home, temporary_home

# A process that dies holds its leases until they end, and an abandoned ingest lives its lifetime.
SETTINGS = """
[faults]
file = "{home}/faults"
[transfer]
ingest_lifetime_seconds = 15
[worker]
lease_seconds = 1.0
poll_seconds = 0.2
"""
PROCESSES = ("catalog", "gateway", "store", "transfer", "worker")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    home = temporary_home()
    site = Site(home, settings=SETTINGS.format(home=home))
    try:
        yield site.start()
    finally:
        site.stop()
        remove_home(home)


@pytest.fixture
def librarian(site: Site) -> Iterator[Librarian]:
    with site.blocking_client() as librarian:
        # A client that was answered once has patience with a restart.
        librarian.status()
        yield librarian


@pytest.mark.parametrize("process", PROCESSES)
def test_killed_at_each_step_of_an_ingest(
    site: Site, librarian: Librarian, process: str, tmp_path: Path, rng: random.Random
) -> None:
    def prepare(number: int) -> Act:
        night = tmp_path / f"night{number}"
        make_book(night / "book", rng, files=2, size_bytes=1000)
        (night / "file").write_bytes(rng.randbytes(1000))
        prefix = f"{process}/{number}"

        def put() -> Check:
            results = list(librarian.put_each(night, prefix))
            assert [result.error for result in results] == [None, None]
            return lambda: check_outcome(site, librarian, prefix, night)

        return put

    killed = die_at_each_step(Plug(site, process), librarian, prepare)
    print(f"{process} was killed at: {' '.join(killed)}")
    assert killed, f"{process} has no failpoint in an ingest"


@pytest.mark.parametrize("bytes_", [pytest.param("same", marks=pytest.mark.slow), "other"])
@pytest.mark.parametrize("process", ["catalog", "store", "transfer", "worker"])
def test_killed_at_each_step_of_coming_second(
    site: Site, librarian: Librarian, process: str, bytes_: str, tmp_path: Path, rng: random.Random
) -> None:
    """Two begin under one name and the other is faster. With the same bytes both have succeeded, with
    other bytes this one is refused; what was first is untouched, and the second's bytes are given up.
    """

    def prepare(number: int) -> Act:
        night = tmp_path / f"night{number}"
        night.mkdir()
        (night / "file").write_bytes(rng.randbytes(1000))
        prefix = f"second-{bytes_}-{process}/{number}"
        ours = (night / "file").read_bytes() if bytes_ == "same" else rng.randbytes(1000)
        second = RawIngest(site, f"{prefix}/file", ours)
        second.begin()
        worker = Plug(site, "worker")
        worker.watch()
        [first] = librarian.put_each(night, prefix)
        assert first.error is None
        # What follows the first one's acknowledgement shall not be mixed up with the second's steps.
        eventually_blocking(lambda: "settle.written" in worker.trace(), what="the first one settled")
        worker.remove()
        # It has lived a while by now; it goes on.
        second.begin()

        def commit() -> Check:
            ingest = second.commit()
            second.close()
            if bytes_ == "same":
                assert ingest.state == transfer_pb2.INGEST_STATE_PUBLISHED
                assert ingest.dataset_uid == first.uid
            else:
                assert ingest.state == transfer_pb2.INGEST_STATE_FAILED
                assert ingest.error.reason == "NAME_TAKEN"
            return lambda: check_outcome(site, librarian, prefix, night)

        return commit

    killed = die_at_each_step(Plug(site, process), librarian, prepare)
    print(f"{process} was killed at: {' '.join(killed)}")


Check = Callable[[], None]
Act = Callable[[], Check]


def die_at_each_step(plug: Plug, librarian: Librarian, prepare: Callable[[int], Act]) -> list[str]:
    """The failpoints it died at, in order. `prepare` is not disturbed; what it answers is, and that
    answers how to check what became of it.
    """
    killed = []
    settled = after_restart(lambda: nothing_left_behind(librarian))
    for number in itertools.count(1):
        assert number < MOST_STEPS, "more steps than there can be"
        act = prepare(number)
        plug.set(number)
        try:
            check = act()
            # What follows the acknowledgement is part of it: the plug may be pulled there too.
            eventually_blocking(lambda: plug.pulled() or settled(), what="settled or killed")
            name = plug.pulled()
            plug.remove()
            eventually_blocking(after_restart(check), what="the outcome is as promised")
        except BaseException as error:
            error.add_note(f"step {number}, failpoints reached: {' '.join(plug.trace())}")
            raise
        eventually_blocking(settled, what="nothing left behind")
        if not name:
            break
        killed.append(name)
    return killed


def check_outcome(site: Site, librarian: Librarian, prefix: str, night: Path) -> None:
    """Exactly one dataset a name, with the bytes that were put, on disk and by the store's own reading."""
    names = [f"{prefix}/{entry.name}" for entry in sorted(night.iterdir())]
    assert [dataset.name for dataset in librarian.ls(f"{prefix}/")] == names
    assert contents(site.store_root / prefix) == contents(night)
    for name in names:
        [report] = librarian.verify(name)
        assert report.state == common_pb2.REPLICA_STATE_AVAILABLE, name
