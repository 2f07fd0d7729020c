"""Verdicts on what another already has."""

from __future__ import annotations

import pytest

from catalog_svc.columns import Batch
from catalog_svc.judging import Holder, Verdict, judge
from catalog_svc.naming import Identity
from librarian.errors import MembersIncomplete, NameTaken, UidTaken, Unavailable


def batch(*identities: Identity) -> Batch:
    count = len(identities)
    filler: list[list[str]] = [[""] * count] * 4
    return Batch(
        range(count),
        [each.uid for each in identities],
        [each.name for each in identities],
        [each.name for each in identities],
        [each.kind for each in identities],
        [each.algorithm for each in identities],
        [each.digest for each in identities],
        [0] * count,
        [1] * count,
        [""] * count,
        [0] * count,
        [None] * count,
        [None] * count,
        *filler[:3],
    )


def made(uid: str, name: str = "a", digest: bytes = b"x") -> Identity:
    return Identity(uid, name, 1, "sha256", digest)


def held(identity: Identity, *, is_live: bool = True, store: str = "") -> Holder:
    return Holder(identity, identity.name, is_live, store)


def verdict(claim: Identity, *holders: Holder, incomplete: bool = False) -> Verdict:
    errors = {0: MembersIncomplete("some")} if incomplete else {}
    return judge(batch(claim), [0], holders, errors)[0]


def test_its_own_row_again() -> None:
    assert verdict(made("1"), held(made("1"))) == Verdict("1", published=True)


def test_the_same_dataset_on_another_store_than_it_was_published_on() -> None:
    assert verdict(made("1"), held(made("1"), store="elsewhere")) == Verdict("1")


def test_another_with_the_same_bytes() -> None:
    assert verdict(made("1"), held(made("2"))) == Verdict("2")


def test_another_with_other_bytes() -> None:
    assert isinstance(verdict(made("1"), held(made("2", digest=b"y"))).error, NameTaken)


@pytest.mark.parametrize(
    "holder", [held(made("1", "b")), held(made("1", digest=b"y")), held(made("1"), is_live=False)]
)
def test_its_uid_under_another_name_bytes_or_retracted(holder: Holder) -> None:
    assert isinstance(verdict(made("1"), holder).error, UidTaken)


def test_a_retracted_dataset_holds_no_name() -> None:
    with pytest.raises(Unavailable, match="changed hands"):
        verdict(made("1"), held(made("2"), is_live=False))


def test_why_it_was_not_tried_counts_only_where_the_name_is_free() -> None:
    assert isinstance(verdict(made("1"), incomplete=True).error, MembersIncomplete)
    assert verdict(made("1"), held(made("2")), incomplete=True) == Verdict("2")
