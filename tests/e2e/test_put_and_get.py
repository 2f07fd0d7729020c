"""Put, find, get, verify, on a live site through the client."""

from __future__ import annotations

import json
import os
import random
import stat
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.data import contents, make_book

from librarian import PutOutcome
from librarian.api.common.v1 import common_pb2
from librarian.blocking import Librarian
from librarian.errors import DestinationExists, NameIsPrefix, NameNormalisesAlike, NameTaken
from librarian.testing.shared import SharedSite


def test_a_directory_comes_back_as_it_was(
    librarian: Librarian, librarian_site: SharedSite, book: Path, tmp_path: Path
) -> None:
    name = librarian_site.new_name("obs/book")
    result = librarian.put(book, name)
    assert result.outcome is PutOutcome.PUBLISHED
    librarian.get(name, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(book)
    # Plain files, mtimes kept, nothing of ours among them.
    lying = librarian_site.store_root / name
    assert contents(lying) == contents(book)
    for path in book.rglob("*.g3"):
        assert (lying / path.relative_to(book)).stat().st_mtime_ns == path.stat().st_mtime_ns


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_a_file_comes_back_as_it_was(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path, rng: random.Random, algorithm: str
) -> None:
    source = tmp_path / "one"
    source.write_bytes(rng.randbytes(3_000_001))
    name = librarian_site.new_name("one")
    librarian.put(source, name, algorithm=algorithm)
    assert librarian.show(name).digest.algorithm == algorithm
    assert librarian.get(name, tmp_path / "back").path.read_bytes() == source.read_bytes()


def test_an_empty_file_and_an_empty_directory(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    for source in ("file", "directory"):
        librarian.put(tmp_path / source, librarian_site.new_name(source))
        librarian.get(librarian_site.new_name(source), tmp_path / f"{source}-back")
    assert (tmp_path / "file-back").read_bytes() == b""
    assert list((tmp_path / "directory-back").iterdir()) == []


def test_modes_come_back(librarian: Librarian, librarian_site: SharedSite, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "empty").mkdir(parents=True)
    (source / "run.sh").touch()
    (source / "empty").chmod(0o755)
    (source / "run.sh").chmod(0o755)
    name = librarian_site.new_name("modes")
    librarian.put(source, name)
    librarian.get(name, tmp_path / "back")
    for member in ("empty", "run.sh"):
        assert stat.S_IMODE((tmp_path / "back" / member).stat().st_mode) == 0o755, member


def test_the_same_again_is_a_success_and_other_bytes_are_refused(
    librarian: Librarian, librarian_site: SharedSite, book: Path, tmp_path: Path
) -> None:
    name = librarian_site.new_name("book")
    first = librarian.put(book, name)
    again = librarian.put(book, name)
    assert (again.outcome, again.uid) == (PutOutcome.ALREADY_THERE, first.uid)
    (book / "more").write_text("x")
    with pytest.raises(NameTaken):
        librarian.put(book, name)
    (book / "more").unlink()
    librarian.get(name, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(book)


def test_a_file_and_a_directory_are_never_the_same(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    name = librarian_site.new_name("thing")
    librarian.put(tmp_path / "file", name)
    with pytest.raises(NameTaken):
        librarian.put(tmp_path / "directory", name)


def test_no_name_lies_within_another(librarian: Librarian, librarian_site: SharedSite, book: Path) -> None:
    librarian.put(book, librarian_site.new_name("a/b"))
    for other in ("a/b/c", "a"):
        with pytest.raises(NameIsPrefix):
            librarian.put(book, librarian_site.new_name(other))


def test_names_that_look_alike(librarian: Librarian, librarian_site: SharedSite, book: Path) -> None:
    librarian.put(book, librarian_site.new_name("Müll"))
    with pytest.raises(NameNormalisesAlike):
        librarian.put(book, librarian_site.new_name("Mu\u0308ll"))
    # Names that differ in case are others.
    assert librarian.put(book, librarian_site.new_name("MÜLL")).outcome is PutOutcome.PUBLISHED


def test_each_entry_becomes_a_dataset_and_one_bad_one_stops_nobody(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path, rng: random.Random
) -> None:
    nights = tmp_path / "nights"
    for number in range(8):
        make_book(nights / f"night{number}", rng, files=2, size_bytes=100)
    (nights / "note.txt").write_text("a file among them")
    (nights / "night3" / "outside").symlink_to("/etc/hostname")
    results = {
        result.item.path.name: result for result in librarian.put_each(nights, librarian_site.new_name("n"))
    }
    assert {name for name, result in results.items() if result.error} == {"night3"}
    assert results["night3"].error.reason == "LINK_OUTSIDE"
    kept = [dataset.name for dataset in librarian.ls(librarian_site.prefix)]
    assert kept == sorted(librarian_site.new_name(f"n/{name}") for name in results if name != "night3")


def test_two_put_the_same_bytes_under_one_name_at_once(
    librarian: Librarian, librarian_site: SharedSite, book: Path
) -> None:
    results = _at_once(lambda _: librarian.put(book, librarian_site.new_name("same")), range(4))
    assert len({result.uid for result in results}) == 1
    assert len(list(librarian.ls(librarian_site.prefix))) == 1


def test_two_put_other_bytes_under_one_name_at_once(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path, rng: random.Random
) -> None:
    name = librarian_site.new_name("contested")
    sources = [make_book(tmp_path / f"book{number}", rng, files=1) for number in range(4)]

    def put(source: Path) -> object:
        try:
            return librarian.put(source, name)
        except NameTaken as error:
            return error

    outcomes = _at_once(put, sources)
    winners = [
        source
        for source, outcome in zip(sources, outcomes, strict=True)
        if not isinstance(outcome, NameTaken)
    ]
    assert len(winners) == 1
    librarian.get(name, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(winners[0])


def test_the_same_bytes_under_two_names_at_once(
    librarian: Librarian, librarian_site: SharedSite, book: Path
) -> None:
    names = [librarian_site.new_name(f"copy{number}") for number in range(4)]
    results = _at_once(lambda name: librarian.put(book, name), names)
    assert len({result.uid for result in results}) == 4
    assert [dataset.name for dataset in librarian.ls(librarian_site.prefix)] == names


def test_members_by_glob_and_nothing_is_overwritten(
    librarian: Librarian, librarian_site: SharedSite, book: Path, tmp_path: Path
) -> None:
    name = librarian_site.new_name("book")
    librarian.put(book, name)
    # An existing directory is gone into, as by cp -r.
    (tmp_path / "out").mkdir()
    some = tmp_path / "out" / "book"
    librarian.get(name, tmp_path / "out", members="data/det0[01].g3")
    assert sorted(contents(some)) == ["data/det00.g3", "data/det01.g3"]
    (some / "data" / "det00.g3").write_text("mine")
    with pytest.raises(DestinationExists, match="det00"):
        librarian.get(name, tmp_path / "out", members="data/*")
    assert (some / "data" / "det00.g3").read_text() == "mine"
    librarian.get(name, tmp_path / "out", members="data/*", force=True)
    assert contents(some / "data") == contents(book / "data")
    whole = b"".join(librarian.read(name, members="M_index.yaml"))
    assert whole == b"book: true\n"


def test_find_by_tags_size_and_glob(librarian: Librarian, librarian_site: SharedSite, tmp_path: Path) -> None:
    for number, kind in enumerate(["science", "cal", "science"]):
        source = tmp_path / f"run{number}"
        source.write_bytes(b"x" * (10**number))
        librarian.put(source, librarian_site.new_name(f"night/run{number}"), tags={"kind": kind})
    name = librarian_site.new_name

    def found(**filters: object) -> list[str]:
        glob = filters.pop("glob", librarian_site.prefix + "**")
        return [dataset.name for dataset in librarian.find(glob, **filters)]

    assert found(tags={"kind": "science"}) == [name("night/run0"), name("night/run2")]
    assert found(min_size_bytes=10) == [name("night/run1"), name("night/run2")]
    assert found(glob=librarian_site.prefix + "*") == []
    assert found(glob=librarian_site.prefix + "*/run[01]") == [name("night/run0"), name("night/run1")]
    assert found(uploader="nobody") == []
    assert found(has_store="main") == [name(f"night/run{number}") for number in range(3)]


def test_a_flipped_bit_is_found_and_located(
    librarian: Librarian, librarian_site: SharedSite, book: Path, tmp_path: Path
) -> None:
    name = librarian_site.new_name("book")
    librarian.put(book, name)
    victim = librarian_site.store_root / name / "data" / "det03.g3"
    good = victim.read_bytes()
    times = (victim.stat().st_atime_ns, victim.stat().st_mtime_ns)
    victim.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    os.utime(victim, ns=times)
    [report] = librarian.verify(name)
    assert report.state == common_pb2.REPLICA_STATE_CORRUPT
    [finding] = report.findings
    assert (finding.path, finding.reason, finding.location) == ("data/det03.g3", "CHANGED", str(victim))
    # It is doubted before it is condemned, and both are on record.
    states = [json.loads(event.details_json).get("state", "") for event in librarian.history(name)]
    assert [state.rpartition("_")[2] for state in states][-2:] == ["SUSPECT", "CORRUPT"]
    victim.write_bytes(good)
    [report] = librarian.verify(name)
    assert report.state == common_pb2.REPLICA_STATE_AVAILABLE


def _at_once(call: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
    items = list(arguments)
    barrier = threading.Barrier(len(items))

    def run(item: Any) -> Any:
        barrier.wait(10)
        return call(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(run, items))
