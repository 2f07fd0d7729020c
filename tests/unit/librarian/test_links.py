from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from librarian.links import escapes


@pytest.mark.parametrize(
    "target", ["b", "./b", "sub/../b", "sub", ".", "missing", "sub/x/../../b", "a", "link"]
)
def test_inside(target: str) -> None:
    assert not escapes("a", {"a": target, "link": "a"})


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "..", "../b", "sub/../../b", "", "a\0b", "x" * 5000, "../root/a"]
)
def test_outside(target: str) -> None:
    assert escapes("a", {"a": target})


def test_relative_to_where_the_link_lies() -> None:
    assert not escapes("p/q/a", {"p/q/a": "../../b"})
    assert escapes("p/q/a", {"p/q/a": "../../../b"})


def test_through_other_links() -> None:
    # By its text alone, x stays inside; d takes it to the root, and `..` out of it.
    links = {"x": "p/q/d/../y", "p/q/d": "../.."}
    assert escapes("x", links)
    assert not escapes("p/q/d", links)
    assert escapes("x", {"x": "y", "y": "z/..", "z": "/"})


def test_circles_lead_nowhere() -> None:
    assert not escapes("a", {"a": "b", "b": "a"})
    assert not escapes("a", {"a": "a/.."})


part = st.sampled_from(["..", "..", ".", "d", "e", "l1", "l2", "l3"])
targets = st.lists(part, min_size=1, max_size=5).map("/".join)
places = st.sampled_from(["", "d/", "d/e/", "e/"])


@settings(max_examples=400)
@given(st.tuples(places, places, places), st.tuples(targets, targets, targets))
def test_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, where: tuple[str, ...], to: tuple[str, ...]
) -> None:
    """Where the kernel follows a link to an end outside, `escapes` said so."""
    root = tmp_path_factory.mktemp("links") / "1" / "2" / "3" / "4" / "5" / "6" / "7" / "8" / "root"
    (root / "d" / "e" / "d").mkdir(parents=True)
    (root / "e").mkdir()
    links = {
        f"{place}l{index}": target
        for index, (place, target) in enumerate(zip(where, to, strict=True), start=1)
    }
    for path, target in links.items():
        (root / path).symlink_to(target)
    inside = PurePosixPath(os.path.realpath(root))
    for path in links:
        try:
            end = Path(root / path).resolve(strict=True)
        except (OSError, RuntimeError):
            continue
        # The other way round does not hold: out and back in again is refused too.
        assert PurePosixPath(end).is_relative_to(inside) or escapes(path, links), (path, links)
