from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from librarian.api.store.v1 import store_pb2
from librarian.errors import NoStore, StoreFull, StoreNotFound, Unavailable
from transfer_svc.planning import StoreClass, StoreView, Wanted, place

FAST = StoreView("fast", priority=1, grantable_bytes=100)
SLOW = StoreView("slow", priority=2, grantable_bytes=1000)


def wanted(*sizes: int, refused_by: frozenset[str] = frozenset(), is_file: bool = True) -> list[Wanted]:
    return [Wanted(i, size, is_file, refused_by) for i, size in enumerate(sizes)]


def test_first_by_priority_then_name() -> None:
    twin = dataclasses.replace(FAST, name="also-fast")
    assert place(wanted(1), [SLOW, FAST, twin]).by_store == {"also-fast": [0]}


def test_falls_to_the_next_where_the_first_is_full() -> None:
    plan = place(wanted(60, 60, 40, 1), [FAST, SLOW])
    assert plan.by_store == {"fast": [0, 2], "slow": [1, 3]}
    assert not plan.errors


def test_a_store_that_refused_an_item_is_not_asked_again_for_it() -> None:
    plan = place(wanted(1, refused_by=frozenset({"fast"})), [FAST, SLOW])
    assert plan.by_store == {"slow": [0]}


def test_one_too_large_does_not_stop_the_others() -> None:
    plan = place(wanted(5000, 10), [FAST, SLOW])
    assert plan.by_store == {"fast": [1]}
    assert isinstance(plan.errors[0], StoreFull)
    assert plan.errors[0].metadata["store"] == "slow"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"enabled": False}, "fast: is disabled"),
        ({"ingestible": False}, "fast: is drained"),
        ({"trouble": "not mounted"}, "fast: not mounted"),
        ({"store_class": StoreClass.SCRATCH}, "fast: is of class scratch"),
        ({"store_class": StoreClass.DISK}, "fast: is of class disk"),
    ],
)
def test_why_no_store_takes_it(change: dict[str, object], why: str) -> None:
    closed = dataclasses.replace(FAST, **change)  # type: ignore[arg-type]
    error = place(wanted(1), [closed]).errors[0]
    assert isinstance(error, NoStore)
    assert why in error.message
    assert place(wanted(1), [closed, SLOW]).by_store == {"slow": [0]}


def test_scratch_only_when_named() -> None:
    scratch = dataclasses.replace(FAST, store_class=StoreClass.SCRATCH)
    assert place(wanted(1), [scratch], only="fast").by_store == {"fast": [0]}


def test_only_one_store() -> None:
    assert place(wanted(1), [FAST, SLOW], only="slow").by_store == {"slow": [0]}
    assert isinstance(place(wanted(500), [FAST, SLOW], only="fast").errors[0], StoreFull)
    assert isinstance(place(wanted(1), [FAST], only="nowhere").errors[0], StoreNotFound)


def test_silence_is_no_proof_that_there_is_no_store() -> None:
    silent = {"far": "connection refused"}
    assert isinstance(place(wanted(1), [], silent=silent).errors[0], Unavailable)
    assert isinstance(place(wanted(1), [FAST], only="far", silent=silent).errors[0], Unavailable)
    assert isinstance(place(wanted(1), []).errors[0], NoStore)


def test_a_file_larger_than_the_file_system_can_hold() -> None:
    fat = dataclasses.replace(FAST, grantable_bytes=10_000, max_file_bytes=4)
    assert place(wanted(5), [fat, SLOW]).by_store == {"slow": [0]}
    assert place(wanted(5, is_file=False), [fat, SLOW]).by_store == {"fast": [0]}


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300), max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500), st.booleans()), min_size=1, max_size=5),
)
def test_each_item_once_and_never_more_than_there_is_room_for(
    sizes: list[int], described: list[tuple[int, int, bool]]
) -> None:
    stores = [
        StoreView(f"s{i}", priority=priority, grantable_bytes=room, enabled=enabled)
        for i, (priority, room, enabled) in enumerate(described)
    ]
    plan = place(wanted(*sizes), stores)
    placed = [index for indices in plan.by_store.values() for index in indices]
    assert sorted([*placed, *plan.errors]) == list(range(len(sizes)))
    for store in stores:
        chosen = plan.by_store.get(store.name, [])
        assert sum(sizes[i] for i in chosen) <= store.grantable_bytes
        assert store.enabled or not chosen


def test_classes_are_the_protos() -> None:
    for store_class in StoreClass:
        assert store_pb2.StoreClass.Name(store_class) == f"STORE_CLASS_{store_class.name}"
