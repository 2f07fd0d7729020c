"""What an offered dataset is to a site, by what the site knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from librarian import errors
from transfer_svc.planning import StoreClass
from transfer_svc.receiving.judging import (
    Birth,
    Bring,
    Content,
    Copy,
    Held,
    Here,
    Refused,
    best_copy,
    check_birth,
    is_passing,
    judge,
)

UID = "00000000-0000-7000-8000-000000000001"
CONTENT = Content("obs/1", 1, "sha256", b"d" * 32, 5, 1)
BIRTH = Birth("chile", UID, CONTENT, "emma", 7, "")
FAST = Copy("fast", StoreClass.ONLINE, "box", 10)
TAPE = Copy("tape", StoreClass.ARCHIVE, "library", 20)
SCRATCH = Copy("tmp", StoreClass.SCRATCH, "box", 30)


def held(*copies: Copy, uid: str = UID, silent: tuple[str, ...] = (), **other: Any) -> Held:
    return Held(uid, replace(CONTENT, **other), copies, silent)


def reason(verdict: Any) -> str:
    assert isinstance(verdict, Refused)
    return verdict.error.reason


def test_what_is_not_known_is_wanted() -> None:
    assert judge(UID, CONTENT, None, None) == Bring()


def test_what_is_known_by_its_uid() -> None:
    assert judge(UID, CONTENT, held(FAST, TAPE), None) == Here(TAPE)
    assert judge(UID, CONTENT, held(FAST, TAPE), None, only="fast") == Here(FAST)
    assert judge(UID, CONTENT, held(FAST), None, only="tape") == Bring()
    # No good copy that counts: the bytes are wanted again.
    assert judge(UID, CONTENT, held(), None) == Bring()
    assert judge(UID, CONTENT, held(SCRATCH), None) == Bring()
    assert judge(UID, CONTENT, held(SCRATCH), None, only="tmp") == Here(SCRATCH)
    # A store that has one does not answer: nothing is sent on a guess.
    assert reason(judge(UID, CONTENT, held(silent=("tape",)), None)) == "UNAVAILABLE"
    assert reason(judge(UID, CONTENT, held(FAST, silent=("tape",)), None, only="tape")) == "UNAVAILABLE"
    assert judge(UID, CONTENT, held(silent=("tape",)), None, only="fast") == Bring()


@pytest.mark.parametrize(
    "fact", [{"name": "n"}, {"kind": 2}, {"digest": b"e" * 32}, {"size_bytes": 6}, {"member_count": 2}]
)
def test_a_uid_means_one_thing(fact: dict[str, Any]) -> None:
    assert reason(judge(UID, CONTENT, held(FAST, **fact), None)) == "UID_TAKEN"


def test_the_same_name_under_another_uid() -> None:
    assert judge(UID, CONTENT, None, held(FAST, uid="theirs")) == Here(FAST, "theirs")
    assert reason(judge(UID, CONTENT, None, held(FAST, uid="theirs", digest=b"e" * 32))) == "NAME_TAKEN"
    assert reason(judge(UID, CONTENT, None, held(FAST, uid="theirs", kind=2))) == "NAME_TAKEN"
    # Another copy under the uid offered could never be published.
    assert reason(judge(UID, CONTENT, None, held(uid="theirs"))) == "UNAVAILABLE"


def test_the_best_copy_was_read_last_and_stays() -> None:
    assert best_copy([FAST, TAPE, SCRATCH]) == TAPE
    assert best_copy([]) is None


@pytest.mark.parametrize(
    "lie",
    [
        {"uid": "another"},
        {"content": replace(CONTENT, digest=b"e" * 32)},
        {"traceparent": "00-no"},
        {"create_time_us": 2**62},
        {"uploader": "a\0b"},
        {"uploader": "a" * 1001},
    ],
)
def test_an_origin_of_something_else(lie: dict[str, Any]) -> None:
    check_birth(BIRTH, UID, CONTENT)
    with pytest.raises(errors.OriginInvalid):
        check_birth(replace(BIRTH, **lie), UID, CONTENT)


def test_what_is_for_people_is_kept() -> None:
    for cls in (errors.NameTaken, errors.UidTaken, errors.OriginInvalid, errors.KeyNotIntroduced):
        assert not is_passing(cls("told so"))
    for passing in (errors.StoreFull, errors.NoStore, errors.Unavailable, errors.DeadlineExceeded):
        assert is_passing(passing("told so"))
