"""The way of a client that does not see the store's file system: through the data door, or the gateway."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.data import contents
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind

from librarian import Progress
from librarian.api.store.v1 import store_pb2
from librarian.blocking import Librarian
from librarian.testing.site import Site, remove_home, temporary_home

WAYS = {"door": "", "gateway": '[store]\ndata_listen = ""\ndata_address = ""\n'}


@pytest.fixture(scope="module", params=list(WAYS))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(temporary_home(), settings=WAYS[request.param])
    try:
        site.start()
        with site.blocking_client() as librarian:
            # As of another machine: what it calls its root is not there.
            elsewhere = store_pb2.Store(name="main", client_root="/not/here")
            librarian.update_store(elsewhere, ["client_root"])
        yield site
    finally:
        site.stop()
        remove_home(site.home)


@pytest.fixture
def librarian(site: Site) -> Iterator[Librarian]:
    with site.blocking_client() as librarian:
        librarian.status()
        yield librarian


def test_a_directory_comes_back_as_it_was(
    site: Site, librarian: Librarian, book: Path, tmp_path: Path
) -> None:
    librarian.put(book, "book")
    librarian.get("book", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(book) == contents(site.store_root / "book")
    times = {path.name: path.stat().st_mtime_ns for path in book.rglob("*.g3")}
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "back").rglob("*.g3")} == times


def test_many_small_ones(librarian: Librarian, tmp_path: Path, rng: random.Random) -> None:
    night = tmp_path / "night"
    night.mkdir()
    for number in range(50):
        (night / f"{number:03}").write_bytes(rng.randbytes(number))
    results = list(librarian.put_each(night, "night"))
    assert [result.error for result in results] == [None] * 50
    assert len(list(librarian.ls("night/"))) == 50


@pytest.mark.parametrize("victim", ["store", "gateway"])
def test_it_goes_on_where_it_was_broken_off(
    site: Site, librarian: Librarian, tmp_path: Path, rng: random.Random, victim: str
) -> None:
    source = tmp_path / "large"
    block = rng.randbytes(1 << 20)
    with source.open("wb") as file:
        for number in range(192):
            file.write(number.to_bytes(8, "big") + block[8:])
    progress = Progress()
    name = f"large-{victim}"
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(librarian.put, source, name, progress=progress)
        eventually_blocking(lambda: progress.snapshot().done_bytes > 16 << 20, what="well under way")
        os.kill(site.pid_of(victim), signal.SIGKILL)
        assert not putting.done(), "it was over before the kill"
        putting.result(60)
    assert (site.store_root / name).read_bytes() == source.read_bytes()
    librarian.get(name, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    eventually_blocking(lambda: nothing_left_behind(librarian))
