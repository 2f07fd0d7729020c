"""Names beside names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_svc.naming import (
    Identity,
    Neighbours,
    after_prefix,
    clashes_within,
    directories,
    is_prefix,
    refusal,
    uid_reused,
)
from librarian.errors import NameIsPrefix, NameNormalisesAlike, NameTaken

segments = st.sampled_from(["a", "b", "ab", "a!", "a0", "é", "z"])
keys = st.lists(segments, min_size=1, max_size=4).map("/".join)


def contains(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer + "/")


@given(st.lists(keys, max_size=12))
def test_directories_are_all_proper_ancestors(names: list[str]) -> None:
    parts = [name.split("/") for name in names]
    assert directories(names) == {"/".join(p[:n]) for p in parts for n in range(1, len(p))}


@given(st.lists(keys, max_size=12))
def test_clashes_leave_what_can_stand_together(names: list[str]) -> None:
    clashes = clashes_within(names)
    kept = [index for index in range(len(names)) if index not in clashes]
    for one in kept:
        for other in kept:
            assert one == other or not contains(names[one], names[other])
    for later, earlier in clashes.items():
        assert earlier < later
        assert earlier in kept
        assert contains(names[earlier], names[later]) or contains(names[later], names[earlier])


@given(st.text(max_size=5), st.text(max_size=5))
def test_after_prefix_bounds_exactly_what_starts_with_it(prefix: str, other: str) -> None:
    above = after_prefix(prefix)
    inside = other >= prefix and (above is None or other < above)
    assert inside == other.startswith(prefix)
    if above is not None:
        above.encode()


@pytest.mark.parametrize(
    ("prefix", "above"),
    [("", None), ("a", "b"), ("a/", "a0"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("\ud7ff", "\ue000")],
)
def test_after_prefix_at_the_edges(prefix: str, above: str | None) -> None:
    assert after_prefix(prefix) == above


def made(name: str = "a/b", *, uid: str = "1", kind: int = 1, digest: bytes = b"x") -> Identity:
    return Identity(uid, name, kind, "sha256", digest)


def test_the_same_data_under_the_same_name_is_no_conflict() -> None:
    assert refusal(made(uid="1"), made(uid="2")) is None


@pytest.mark.parametrize("other", [made(digest=b"y"), made(kind=2)])
def test_other_data_is_refused(other: Identity) -> None:
    error = refusal(made(), other)
    assert isinstance(error, NameTaken)
    assert error.metadata["name"] == "a/b"


def test_kind_and_algorithm_are_part_of_identity() -> None:
    assert isinstance(refusal(made(), Identity("2", "a/b", 1, "blake3", b"x")), NameTaken)


def test_another_spelling_is_refused_whatever_the_data() -> None:
    error = refusal(made("e\u0301"), made("\u00e9"))
    assert isinstance(error, NameNormalisesAlike)
    assert error.metadata["other"] == "\u00e9"


def test_neighbours() -> None:
    live = Neighbours(inside={"a": "a/x"}, around={"b": "b"})
    assert live.of("a") == "a/x"
    assert live.of("b/c/d") == "b"
    assert live.of("c") is None


def test_messages_tell_which_is_around_which() -> None:
    assert "inside of" in is_prefix("a/b", "a").message
    assert "around" in is_prefix("a", "a/b").message
    assert isinstance(is_prefix("a", "a/b"), NameIsPrefix)
    assert "'a/b'" in uid_reused(made("c"), made()).message
