"""Members as they are sent ahead."""

from __future__ import annotations

from typing import Any

import pytest

from catalog_svc.membercolumns import MemberColumns
from librarian.api.common.v1 import common_pb2
from librarian.errors import AlgorithmNotAllowed, InvalidInput, InvalidName, InvalidSize, LibrarianError

SUM = common_pb2.Checksum(algorithm="sha256", value=b"d" * 32)
FILE = {"path": "a/b", "kind": 1, "size_bytes": 3, "checksum": SUM, "mode": 0o644, "mtime_ns": 5}


def test_one_of_each_kind() -> None:
    columns = MemberColumns()
    columns.add("u", common_pb2.Member(**FILE))
    columns.add("u", common_pb2.Member(path="d", kind=2))
    columns.add("u", common_pb2.Member(path="l", kind=3, link_target="a/b"))
    assert columns.paths == ["a/b", "d", "l"]
    assert columns.algorithms == ["sha256", None, None]
    assert columns.targets == ["", "", "a/b"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"path": "../x"}, InvalidName),
        ({"path": ""}, InvalidName),
        ({"kind": 0}, InvalidInput),
        ({"kind": 9}, InvalidInput),
        ({"size_bytes": -1}, InvalidSize),
        ({"checksum": None}, InvalidInput),
        ({"checksum": common_pb2.Checksum(algorithm="md5", value=b"d" * 16)}, AlgorithmNotAllowed),
        ({"checksum": common_pb2.Checksum(algorithm="sha256", value=b"d")}, InvalidInput),
        ({"kind": 2}, InvalidSize),
        ({"kind": 2, "size_bytes": 0}, InvalidInput),
        ({"kind": 3, "size_bytes": 0, "checksum": None}, InvalidInput),
        ({"kind": 3, "size_bytes": 0, "checksum": None, "link_target": "a\0"}, InvalidInput),
        ({"link_target": "x"}, InvalidInput),
        ({"mode": 2**31}, InvalidInput),
    ],
)
def test_what_no_member_can_be(change: dict[str, Any], error: type[LibrarianError]) -> None:
    columns = MemberColumns()
    with pytest.raises(error):
        columns.add("u", common_pb2.Member(**(FILE | change)))
    assert len(columns) == 0
    assert not columns.uids


def test_the_last_word_holds_and_closed_datasets_are_left_out() -> None:
    columns = MemberColumns()
    columns.add("u", common_pb2.Member(**FILE))
    columns.add("v", common_pb2.Member(**FILE))
    columns.add("u", common_pb2.Member(**(FILE | {"size_bytes": 4})))
    kept = columns.last_words({"v"})
    assert (kept.uids, kept.paths, kept.sizes) == (["u"], ["a/b"], [4])


def test_without_repeats_nothing_is_copied() -> None:
    columns = MemberColumns()
    columns.add("u", common_pb2.Member(**FILE))
    assert columns.last_words(set()) is columns
