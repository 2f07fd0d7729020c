from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from librarian.errors import AlgorithmNotAllowed, BatchTooLarge, InvalidInput, InvalidName, InvalidSize
from transfer_svc import rules
from transfer_svc.rules import Spec

GOOD = Spec("satp3/obs/1", 1, 10, 1, "", {}, None, "")


def test_good_ones_pass() -> None:
    rules.check_spec(GOOD)
    rules.check_spec(dataclasses.replace(GOOD, kind=2, size_bytes=0, inode_count=0, algorithm="blake3"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "../x"}, InvalidName),
        ({"name": ""}, InvalidName),
        ({"kind": 0}, InvalidInput),
        ({"kind": 3}, InvalidInput),
        ({"size_bytes": -1}, InvalidSize),
        ({"inode_count": -1}, InvalidSize),
        ({"algorithm": "md5"}, AlgorithmNotAllowed),
        ({"create_time_us": 10**18}, InvalidInput),
        ({"tags": {"": "x"}}, InvalidInput),
        ({"tags": {"a": "\0"}}, InvalidInput),
        ({"tags": {"a": "x" * 5000}}, InvalidInput),
        ({"tags": {str(i): "" for i in range(65)}}, InvalidInput),
    ],
)
def test_bad_ones_are_told_why(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        rules.check_spec(dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]


def test_batches() -> None:
    rules.check_batch(500)
    with pytest.raises(BatchTooLarge):
        rules.check_batch(501)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_tags_survive_as_json(tags: dict[str, str]) -> None:
    text = rules.tags_json(tags)
    assert (json.loads(text) if text else {}) == tags


@settings(deadline=None)
@given(st.uuids())
def test_a_trace_of_ones_own(uid: object) -> None:
    made = rules.traceparent_of(str(uid))
    assert rules.check_traceparent(made) == made
    assert str(uid).replace("-", "") in made


@pytest.mark.parametrize(
    "text", ["x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "01-" + "1" * 32 + "-" + "1" * 16 + "-01"]
)
def test_traceparents_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        rules.check_traceparent(text)


def test_claims() -> None:
    rules.check_claim("sha256", b"x" * 32, 0, 0, ingest_id="i")
    with pytest.raises(InvalidInput):
        rules.check_claim("sha256", b"x" * 31, 0, 0, ingest_id="i")
    with pytest.raises(InvalidSize):
        rules.check_claim("sha256", b"x" * 32, -1, 0, ingest_id="i")


def test_waits_are_bounded() -> None:
    assert [rules.wait_seconds(ms) for ms in (-5, 0, 1500, 10**9)] == [0, 0, 1.5, 25]
