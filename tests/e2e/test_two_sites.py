"""Two whole sites: data goes over by itself, and each side knows for certain what the other holds."""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data import contents, make_book
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind
from support.paired import Sites, add_route, deliveries, state_name, states, transfers, until_receipted

from librarian.blocking import Librarian

PROCESSES = ("catalog", "gateway", "store", "transfer", "worker")


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with Sites() as sites:
        sites.start("mountain")
        sites.start("centre")
        sites.pair("mountain", "centre")
        yield sites


@pytest.fixture
def mountain(sites: Sites) -> Iterator[Librarian]:
    sites.up("mountain")
    with sites["mountain"].blocking_client() as librarian:
        yield librarian


@pytest.fixture
def centre(sites: Sites) -> Iterator[Librarian]:
    sites.wires["centre"].mend()
    sites.wires["centre"].set_rate(0)
    sites.up("centre")
    with sites["centre"].blocking_client() as librarian:
        yield librarian


@pytest.fixture
def area() -> str:
    """A part of the name space that is this test's alone."""
    return f"area-{secrets.token_hex(4)}"


def test_a_book_goes_over_by_itself(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, book: Path
) -> None:
    here, there = sites["mountain"], sites["centre"]
    add_route(here, "centre", f"{area}/**")
    name = f"{area}/1718574200_satp3"
    put = mountain.put(book, name, tags={"kind": "obs"})
    dataset = until_receipted(mountain, name, "centre")
    copy = centre.show(name)
    assert (copy.uid, copy.digest, copy.member_count) == (dataset.uid, dataset.digest, dataset.member_count)
    # Provenance is the birthplace's word, byte for byte.
    assert copy.origin == dataset.origin
    assert (copy.site, copy.uploader) == ("mountain", dataset.uploader)
    assert copy.create_time == dataset.create_time
    assert dict(copy.tags) == {"kind": "obs"}
    assert copy.traceparent == dataset.traceparent
    assert contents(there.store_root / name) == contents(book)
    newest = (there.store_root / name / "data/det00.g3").stat().st_mtime_ns
    assert newest == (book / "data/det00.g3").stat().st_mtime_ns
    eventually_blocking(lambda: states(mountain, name) == {name: "VERIFIED"})
    assert deliveries(centre, name) == ["RECEIPTED"]
    assert f"sha256:{copy.digest.value.hex()}" == str(put.digest)
    # And it can be told, without guessing.
    assert "centre" in here.cli("explain", name, "--at", "centre").stdout
    told = here.cli("history", name).stdout
    assert "mountain" in told
    assert "centre" in told


def test_what_is_older_than_the_route_goes_over_when_asked(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    names = [f"{area}/{number:03}" for number in range(30)]
    for name in names:
        path = tmp_path / "one"
        path.write_text(name)
        mountain.put(path, name)
    add_route(sites["mountain"], "centre", f"{area}/*", "--backfill")
    for name in names:
        until_receipted(mountain, name, "centre")
    assert {dataset.name for dataset in centre.ls(f"{area}/")} == set(names)


def test_same_name_other_bytes_is_held_on_both_sides(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    ours, theirs, fine = tmp_path / "ours", tmp_path / "theirs", tmp_path / "fine"
    ours.write_text("ours")
    theirs.write_text("theirs")
    fine.write_text("fine")
    centre.put(theirs, f"{area}/clash")
    mountain.put(ours, f"{area}/clash")
    mountain.put(fine, f"{area}/fine")
    add_route(sites["mountain"], "centre", f"{area}/*", "--backfill")
    # The one in trouble delays nobody.
    until_receipted(mountain, f"{area}/fine", "centre")
    eventually_blocking(lambda: states(mountain, f"{area}/clash") == {f"{area}/clash": "HELD"})
    [held] = transfers(mountain, f"{area}/clash")
    assert held.error.reason == "NAME_TAKEN"
    assert held.error.metadata["remedy"]
    assert set(deliveries(centre, f"{area}/clash")) == {"REFUSED"}
    assert (sites["centre"].store_root / area / "clash").read_text() == "theirs"
    assert (sites["mountain"].store_root / area / "clash").read_text() == "ours"
    assert "NAME_TAKEN" in sites["mountain"].cli("status").stdout


def test_what_is_there_already_is_not_sent(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_bytes(secrets.token_bytes(400_000))
    centre.put(data, f"{area}/same")
    mountain.put(data, f"{area}/same")
    before = sites.wires["centre"].carried_bytes
    add_route(sites["mountain"], "centre", f"{area}/*", "--backfill")
    until_receipted(mountain, f"{area}/same", "centre")
    eventually_blocking(lambda: states(mountain, f"{area}/same") == {f"{area}/same": "PRESENT"})
    assert sites.wires["centre"].carried_bytes - before < 200_000


def test_a_cut_costs_only_the_time_it_lasts(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    size = 12_000_000
    data = tmp_path / "data"
    data.write_bytes(secrets.token_bytes(size))
    wire = sites.wires["centre"]
    wire.set_rate(40_000_000)
    before = wire.carried_bytes
    add_route(sites["mountain"], "centre", f"{area}/*")
    mountain.put(data, f"{area}/large")
    eventually_blocking(lambda: wire.carried_bytes - before > size / 3, what="on its way")
    wire.cut()
    [large] = transfers(mountain, f"{area}/large")
    assert state_name(large.state) in {"MOVING", "QUEUED", "OFFERED"}
    wire.mend()
    until_receipted(mountain, f"{area}/large", "centre")
    # What had arrived was not sent again, but for what was in the pipe.
    assert wire.carried_bytes - before < size * 1.3
    assert (sites["centre"].store_root / area / "large").read_bytes() == data.read_bytes()


def test_a_paused_peer_gets_nothing_and_blocks_nobody(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    here = sites["mountain"]
    (tmp_path / "second").mkdir()
    here.cli("store", "add", f"{area}-second", "--root", tmp_path / "second", "--class", "archive")
    here.cli("peer", "pause", "centre")
    try:
        add_route(here, "centre", f"{area}/*")
        add_route(here, f"{area}-second", f"{area}/*", via="posix")
        data = tmp_path / "data"
        data.write_text("to both")
        mountain.put(data, f"{area}/both", store="main")
        # The copy on a store of our own is made meanwhile.
        eventually_blocking(
            lambda: (
                {replica.store for replica in mountain.show(f"{area}/both").replicas}
                == {"main", f"{area}-second"}
            ),
            timeout=30,
        )
        assert (tmp_path / "second" / area / "both").read_text() == "to both"
        assert not mountain.show(f"{area}/both").remote_replicas
        assert "paused" in here.cli("explain", f"{area}/both", "--at", "centre", check=False).stdout.lower()
    finally:
        here.cli("peer", "resume", "centre")
    until_receipted(mountain, f"{area}/both", "centre")


@pytest.mark.parametrize("site", ["mountain", "centre"])
def test_services_killed_on_the_way(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path, site: str
) -> None:
    """Each of them once, in the middle of many: every dataset arrives once, and the states are in step."""
    rng = random.Random(area)
    root = tmp_path / "many"
    for number in range(8):
        make_book(root / f"book{number}", rng, files=2, size_bytes=200_000)
    sites.wires["centre"].set_rate(30_000_000)
    add_route(sites["mountain"], "centre", f"{area}/*")
    results = list(mountain.put_each(root, area))
    assert all(result.error is None for result in results)
    for process in PROCESSES:
        os.kill(sites[site].pid_of(process), signal.SIGKILL)
    for result in results:
        until_receipted(mountain, result.item.name, "centre", timeout=90)
    for number in range(8):
        assert contents(sites["centre"].store_root / area / f"book{number}") == contents(
            root / f"book{number}"
        )
    eventually_blocking(
        lambda: set(states(mountain, f"{area}/*").values()) <= {"VERIFIED", "PRESENT"}, timeout=30
    )
    assert len(list(centre.ls(f"{area}/"))) == 8
    eventually_blocking(lambda: nothing_left_behind(centre))
