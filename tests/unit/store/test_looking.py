"""Walks in the order of paths, from anywhere on, following nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from store_svc.claims import fingerprint, slices
from store_svc.directories import DIRECTORY, remove
from store_svc.looking import walk

parts = st.sampled_from(["a", "a-b", "a.b", "b", "ä", "zz"])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


def _plant(top: Path, wanted: list[str]) -> list[str]:
    """Files where nothing is in the way; answers what there is."""
    for path in wanted:
        place = top / path
        if not place.exists() and all(not (top / above).is_file() for above in Path(path).parents):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


@settings(max_examples=60, deadline=None)
@given(st.lists(paths, max_size=25), paths)
def test_order_and_resumption(wanted: list[str], after: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        there = _plant(Path(name), wanted)
        fd = os.open(name, DIRECTORY)
        try:
            assert [entry.path for entry in walk(fd)] == there
            assert [entry.path for entry in walk(fd, after=after)] == [p for p in there if p > after]
        finally:
            os.close(fd)


def test_fingerprint_tells_changes(tmp_path: Path) -> None:
    _plant(tmp_path, ["a/b", "c"])
    fd = os.open(tmp_path, DIRECTORY)
    first = fingerprint(walk(fd))
    assert fingerprint(walk(fd)) == first
    (tmp_path / "c").write_text("x")
    second = fingerprint(walk(fd))
    assert second.layout != first.layout
    assert second.inodes == first.inodes
    status = (tmp_path / "c").stat()
    (tmp_path / "new").write_text("x")
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "c")
    third = fingerprint(walk(fd))
    assert (third.layout, third.inodes != second.inodes) == (second.layout, True)
    os.close(fd)


def test_a_deep_tree_is_removed(tmp_path: Path) -> None:
    """Deeper than there are stack frames; with a folder that may not be written to."""
    fd = os.open(tmp_path, DIRECTORY)
    at = os.dup(fd)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.fchmod(at, 0o500)
    os.close(at)
    remove("d", at=fd)
    os.close(fd)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 1000), st.integers(1, 16))
def test_slices_cover_everything_once(count: int, parts_wanted: int) -> None:
    items = list(range(count))
    found = [items[part] for part in slices(count, parts_wanted)]
    assert [item for part in found for item in part] == items
    assert all(found)
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1
