"""What a batch of columns may contain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_svc.columns import MAX_BATCH, read_columns
from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import (
    AlgorithmNotAllowed,
    BatchTooLarge,
    InvalidInput,
    InvalidName,
    InvalidSize,
    InvalidStore,
)

UID = "0190a6c8-0000-7000-8000-000000000001"
ORIGIN = common_pb2.Signed(type="librarian.origin", payload=b"p").SerializeToString()
GOOD: dict[str, Any] = {
    "uid": UID,
    "name": "a/b",
    "kind": 1,
    "digest_algorithm": "sha256",
    "digest": b"d" * 32,
    "size_bytes": 5,
    "member_count": 1,
    "uploader": "ana",
    "create_time_us": 1_718_574_200_000_000,
    "tags_json": '{"tel": "satp3"}',
    "origin": ORIGIN,
    "traceparent": "",
    "site": "chile",
}


def columns(*rows: dict[str, Any]) -> pb.DatasetColumns:
    return pb.DatasetColumns(**{field: [row[field] for row in rows] for field in GOOD})


def test_the_fields_here_are_all_there_are() -> None:
    assert set(GOOD) == {field.name for field in pb.DatasetColumns.DESCRIPTOR.fields}


def test_a_good_batch_passes_whole() -> None:
    second = GOOD | {"name": "a/a", "uid": UID[:-1] + "2", "tags_json": "", "origin": b""}
    batch, bad = read_columns(columns(GOOD, second), ["main", "disk"])
    assert not bad
    assert list(batch.positions) == [0, 1]
    assert list(batch.keys) == ["a/b", "a/a"]
    assert list(batch.stores) == ["main", "disk"]
    assert [json.loads(tags) if tags else None for tags in batch.tags] == [{"tel": "satp3"}, None]
    assert list(batch.origins) == [ORIGIN, None]
    assert batch.identity(1).name == "a/a"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"uid": "1"}, InvalidInput),
        ({"uid": UID.upper()}, InvalidInput),
        ({"name": "a/../b"}, InvalidName),
        ({"name": "/a"}, InvalidName),
        ({"name": "a\0b"}, InvalidName),
        ({"name": ".librarian/x"}, InvalidName),
        # 681 times three bytes fit, their normal form of nine bytes each does not.
        ({"name": "/".join(["\U0001d160" * 63] * 8)}, InvalidName),
        ({"kind": 0}, InvalidInput),
        ({"kind": 7}, InvalidInput),
        ({"digest_algorithm": "md5"}, AlgorithmNotAllowed),
        ({"digest": b"short"}, InvalidInput),
        ({"size_bytes": -1}, InvalidSize),
        ({"member_count": 2}, InvalidSize),
        ({"kind": 2, "member_count": 1_000_001}, InvalidSize),
        ({"kind": 2, "member_count": -1}, InvalidSize),
        ({"uploader": "a\0"}, InvalidInput),
        ({"uploader": "é" * 128}, InvalidInput),
        ({"site": "s" * 256}, InvalidInput),
        ({"create_time_us": 2**62}, InvalidInput),
        ({"create_time_us": -(2**62)}, InvalidInput),
        ({"tags_json": "[]"}, InvalidInput),
        ({"tags_json": "{"}, InvalidInput),
        ({"tags_json": '{"a": 1}'}, InvalidInput),
        ({"tags_json": '{"a": "\\u0000"}'}, InvalidInput),
        ({"tags_json": '{"a": "\\ud800"}'}, InvalidInput),
        ({"tags_json": "[" * 10_000}, InvalidInput),
        ({"tags_json": '{"a": "' + "x" * 20_000 + '"}'}, InvalidInput),
        ({"origin": b"\xff"}, InvalidInput),
        ({"origin": common_pb2.Signed(type="receipt").SerializeToString()}, InvalidInput),
    ],
)
def test_one_bad_item_is_refused_and_the_rest_goes_on(
    change: dict[str, Any], error: type[InvalidInput]
) -> None:
    before = GOOD | {"name": "first"}
    after = GOOD | {"name": "last"}
    batch, bad = read_columns(columns(before, GOOD | change, after), ["main"] * 3)
    assert list(batch.positions) == [0, 2]
    assert list(batch.names) == ["first", "last"]
    assert {position: type(found) for position, found in bad.items()} == {1: error}
    assert bad[1].metadata["name"]


def test_a_store_must_be_called_like_one() -> None:
    batch, bad = read_columns(columns(GOOD), ["No Store"])
    assert isinstance(bad[0], InvalidStore)
    assert not batch.uids


def test_columns_of_different_length_make_no_sense() -> None:
    ragged = columns(GOOD, GOOD)
    del ragged.site[1:]
    with pytest.raises(InvalidInput, match="site has 1 values for 2 datasets"):
        read_columns(ragged, ["main"] * 2)
    with pytest.raises(InvalidInput):
        read_columns(columns(GOOD), ["main"] * 2)


def test_a_batch_is_bounded() -> None:
    with pytest.raises(BatchTooLarge):
        read_columns(columns(*[GOOD] * (MAX_BATCH + 1)), ["main"] * (MAX_BATCH + 1))


@given(st.lists(st.integers(0, 9), unique=True))
def test_choosing_keeps_rows_together(indexes: list[int]) -> None:
    rows = [GOOD | {"name": f"n{index}", "size_bytes": index} for index in range(10)]
    batch, _ = read_columns(columns(*rows), ["main"] * 10)
    chosen = batch.choose(indexes)
    assert list(chosen.positions) == indexes
    assert list(chosen.names) == [f"n{index}" for index in indexes]
    assert list(chosen.sizes) == indexes
