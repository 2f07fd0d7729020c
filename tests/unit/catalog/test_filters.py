"""Filters as shapes and values."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from catalog_svc.filters import Names, Order, binding, last_keys, plan
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import InvalidGlob, InvalidInput, InvalidPageToken
from librarian.globs import compile_glob

UID = "0190a6c8-0000-7000-8000-000000000001"
names = st.lists(st.sampled_from(["a", "b", "ab", "ba", "c"]), min_size=1, max_size=3).map("/".join)
globs = st.lists(st.sampled_from(["a", "b", "*", "**", "?b", "a*"]), min_size=1, max_size=3).map("/".join)


def within(found: Names, name: str) -> bool:
    return (
        name >= found.low
        and (found.high is None or name < found.high)
        and all(re.search(regex, name) for regex in found.regexes)
    )


@given(names, names, globs, globs)
def test_ranges_and_regexes_together_mean_the_filters(name: str, prefix: str, one: str, other: str) -> None:
    found = Names().starting_with(prefix).matching(one).matching(other)
    wanted = name.startswith(prefix) and all(compile_glob(glob).matches(name) for glob in (one, other))
    assert within(found, name) == wanted


def test_everything_below_a_directory_is_a_bare_range() -> None:
    assert Names().matching("satp3/**") == Names("satp3/", "satp30")


def test_a_prefix_in_name_order_is_served_by_the_index() -> None:
    shape = plan(pb.DatasetFilter(name_prefix="a/"), 0, "", None).shape
    assert (shape.order, shape.low, shape.high) == (Order.NAME, True, True)
    assert shape.served_by_index


def test_a_time_window_in_time_order_is_served_by_the_index() -> None:
    window = pb.DatasetFilter(created_after=Timestamp(seconds=1), created_before=Timestamp(seconds=2))
    assert plan(window, pb.DATASET_ORDER_CREATE_TIME, "", None).shape.served_by_index
    assert not plan(window, pb.DATASET_ORDER_NAME, "", None).shape.served_by_index


@pytest.mark.parametrize("fields", [{"uploader": "ana"}, {"name_glob": "*/x"}, {"tags": {"a": ""}}])
def test_other_conditions_are_not(fields: dict[str, Any]) -> None:
    assert not plan(pb.DatasetFilter(**fields), 0, "", None).shape.served_by_index


def test_the_token_s_prefix_limits_every_listing() -> None:
    listing = plan(pb.DatasetFilter(name_prefix="satp3/obs"), 0, "satp3/**", None)
    assert (listing.values["low"], listing.values["high"]) == ("satp3/obs", "satp3/obt")
    outside = plan(pb.DatasetFilter(name_prefix="lat/"), 0, "satp3/**", None)
    assert str(outside.values["low"]) >= str(outside.values["high"])


def test_a_forged_page_token_does_not_lead_out_of_the_prefix() -> None:
    listing = plan(pb.DatasetFilter(), 0, "satp3/**", ["lat/secret"])
    assert listing.values["low"] == "satp3/"
    assert not listing.shape.resumed


def test_going_on_after_a_name() -> None:
    listing = plan(pb.DatasetFilter(name_prefix="a"), 0, "", ["ab"])
    assert (listing.values["low"], listing.shape.resumed) == ("ab", True)


@pytest.mark.parametrize("order", [pb.DATASET_ORDER_CREATE_TIME, pb.DATASET_ORDER_CREATE_TIME_DESC])
def test_going_on_after_a_time(order: int) -> None:
    keys = last_keys(order, uid=UID, name="a", create_time_us=7)
    values = plan(pb.DatasetFilter(), order, "", keys).values
    assert (values["last_time"], values["last_uid"]) == (7, UID)


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        (0, []),
        (0, [1]),
        (0, ["a", "b"]),
        (0, ["a\0"]),
        (0, ["\ud800"]),
        (2, ["a"]),
        (2, [2**70, UID]),
        (2, [1, "no uid"]),
    ],
)
def test_keys_that_no_page_token_of_ours_holds(order: int, keys: list[Any]) -> None:
    with pytest.raises(InvalidPageToken):
        plan(pb.DatasetFilter(), order, "", keys)


def test_a_window_finer_than_microseconds_keeps_its_meaning() -> None:
    wanted = pb.DatasetFilter(created_after=Timestamp(nanos=1001), created_before=Timestamp(nanos=2000))
    values = plan(wanted, 0, "", None).values
    assert (values["after"], values["before"]) == (2, 2)


def test_tags_with_and_without_a_value() -> None:
    values = plan(pb.DatasetFilter(tags={"tel": "satp3", "night": ""}), 0, "", None).values
    assert values["tags_equal"] == '{"tel": "satp3"}'
    assert values["tags_present"] == ["night"]


def test_zero_is_a_size() -> None:
    values = plan(pb.DatasetFilter(max_size_bytes=0), 0, "", None).values
    assert values["max_size_bytes"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"name_prefix": "a\0"},
        {"uploader": "a\0"},
        {"has_store": "a\0"},
        {"lacks_store": "a\0"},
        {"expected_store": "a\0"},
        {"tags": {"a\0": ""}},
        {"has_replica_state": 99},
        {"created_after": Timestamp(seconds=2**62)},
    ],
)
def test_filters_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        plan(pb.DatasetFilter(**fields), 0, "", None)


def test_an_order_nobody_knows() -> None:
    with pytest.raises(InvalidInput):
        plan(pb.DatasetFilter(), 17, "", None)


def test_a_glob_that_is_none() -> None:
    with pytest.raises(InvalidGlob):
        plan(pb.DatasetFilter(name_glob="a["), 0, "", None)


def test_the_binding_tells_filters_orders_and_callers_apart() -> None:
    bindings = [
        binding(pb.DatasetFilter(), 0, ""),
        binding(pb.DatasetFilter(name_prefix="a"), 0, ""),
        binding(pb.DatasetFilter(), pb.DATASET_ORDER_CREATE_TIME, ""),
        binding(pb.DatasetFilter(), 0, "a/**"),
    ]
    assert len(set(bindings)) == len(bindings)
    assert binding(pb.DatasetFilter(), pb.DATASET_ORDER_NAME, "") == bindings[0]
