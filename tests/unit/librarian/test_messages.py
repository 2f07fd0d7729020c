from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian import messages
from librarian.api.common.v1 import common_pb2 as pb
from librarian.checksums import ALGORITHMS, Checksum
from librarian.errors import (
    BY_REASON,
    AlgorithmNotAllowed,
    InternalError,
    InvalidInput,
    LibrarianError,
    NameTaken,
)
from librarian.manifests import Member, MemberKind

checksums = st.builds(Checksum, st.sampled_from(ALGORITHMS), st.binary(min_size=32, max_size=32))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
members = st.builds(
    Member,
    path=text,
    kind=st.sampled_from(MemberKind),
    size_bytes=st.integers(0, 2**63 - 1),
    checksum=st.none() | checksums,
    link_target=text,
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
)
moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=30))]))


@given(checksums)
def test_checksums(checksum: Checksum) -> None:
    assert messages.checksum_from_proto(messages.checksum_to_proto(checksum)) == checksum


@given(members)
def test_members(member: Member) -> None:
    wire = messages.member_to_proto(member).SerializeToString()
    assert messages.member_from_proto(pb.Member.FromString(wire)) == member


def test_wrong_messages() -> None:
    with pytest.raises(AlgorithmNotAllowed):
        messages.checksum_from_proto(pb.Checksum(algorithm="md5", value=bytes(16)))
    with pytest.raises(InvalidInput, match="32 bytes"):
        messages.checksum_from_proto(pb.Checksum(algorithm="sha256", value=b"short"))
    with pytest.raises(InvalidInput, match="unknown kind"):
        messages.member_from_proto(pb.Member(path="a"))


@given(moments)
def test_times(moment: datetime) -> None:
    message = messages.timestamp(moment)
    assert messages.datetime_of(message) == moment
    assert messages.datetime_of(message).tzinfo is UTC
    assert messages.timestamp_of_microseconds(messages.microseconds(moment)) == message
    assert 0 <= message.nanos < 10**9


def test_times_out_of_range() -> None:
    message = messages.timestamp(datetime(2024, 1, 1, tzinfo=UTC))
    message.seconds = 10**15
    with pytest.raises(InvalidInput):
        messages.datetime_of(message)


@pytest.mark.parametrize("cls", BY_REASON.values())
def test_every_error_crosses(cls: type[LibrarianError]) -> None:
    error = cls("what happened", remedy="do this", name="a/b", limit=3)
    item = messages.item_error(error)
    back = messages.error_of(pb.ItemError.FromString(item.SerializeToString()))
    assert type(back) is cls
    assert (back.message, back.remedy, back.metadata) == (
        "what happened",
        "do this",
        {"name": "a/b", "limit": "3"},
    )
    assert (item.code, item.reason) == (cls.code, cls.reason)


def test_default_remedies_travel() -> None:
    assert messages.item_error(NameTaken("x")).metadata["remedy"] == NameTaken.default_remedy


def test_a_reason_this_version_does_not_know_is_kept() -> None:
    item = pb.ItemError(code=6, reason="NEWER_THAN_US", message="x", metadata={"remedy": "y"})
    assert messages.item_error(messages.error_of(item)) == item


@given(st.sampled_from([ValueError, OSError, KeyError]))
def test_other_exceptions_say_nothing(cls: type[Exception]) -> None:
    item = messages.item_error(cls("password=hunter2"))
    assert "hunter2" not in str(item)
    assert type(messages.error_of(item)) is InternalError
