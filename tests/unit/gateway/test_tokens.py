"""Secrets, their digests, and when a token is good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens import (
    SECRET_BYTES,
    Token,
    check_prefix,
    check_subject,
    derived_secret,
    digest_of,
    expiry,
    same_digest,
    secret_of,
)
from librarian.errors import InvalidGlob, InvalidInput, LibrarianError, TokenExpired, TokenRevoked
from svckit.auth import Role

NOW = datetime(2026, 6, 1, tzinfo=UTC)
raw_secrets = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


def token(**times: datetime) -> Token:
    return Token("t1", "shift", Role.READER, "satp3/**", NOW - timedelta(days=1), **times)


@given(raw_secrets, raw_secrets)
def test_a_secret_has_all_256_bits(one: bytes, other: bytes) -> None:
    assert secret_of(one).startswith("lib_")
    assert (secret_of(one) == secret_of(other)) == (one == other)
    assert secret_of(one).removeprefix("lib_").replace("-", "").replace("_", "").isalnum()


@given(raw_secrets)
def test_a_digest_is_that_of_its_secret_alone(raw: bytes) -> None:
    secret = secret_of(raw)
    assert same_digest(digest_of(secret), digest_of(secret))
    assert not same_digest(digest_of(secret), digest_of(secret + "x"))


@given(st.text())
def test_any_text_has_a_digest(text: str) -> None:
    assert len(digest_of(text)) == 32


@given(raw_secrets, raw_secrets, st.uuids(), st.uuids())
def test_a_derived_secret_depends_on_key_token_and_salt(
    key: bytes, salt: bytes, one: object, other: object
) -> None:
    secret = derived_secret(key, str(one), salt)
    assert secret == derived_secret(key, str(one), salt)
    assert secret != derived_secret(key + b"x", str(one), salt)
    assert secret != derived_secret(key, str(one), salt + b"x")
    assert (secret == derived_secret(key, str(other), salt)) == (one == other)


def test_a_token_is_good_until_it_ends() -> None:
    token().check(NOW)
    token(expire_time=NOW + timedelta(microseconds=1)).check(NOW)
    with pytest.raises(TokenExpired, match="2026-06-01T00:00:00Z"):
        token(expire_time=NOW).check(NOW)
    with pytest.raises(TokenRevoked):
        token(revoke_time=NOW).check(NOW)
    with pytest.raises(TokenRevoked):
        token(revoke_time=NOW, expire_time=NOW).check(NOW)


def test_a_token_makes_its_bearer_a_caller() -> None:
    caller = token().caller
    assert (caller.subject, caller.role, caller.name_prefix, caller.token_id) == (
        "shift",
        Role.READER,
        "satp3/**",
        "t1",
    )


@pytest.mark.parametrize("prefix", ["", "satp3/**", "satp3/obs/**", "büro/ä b/**"])
def test_good_prefixes(prefix: str) -> None:
    assert check_prefix(prefix, Role.INGESTER) == prefix


@pytest.mark.parametrize(
    "prefix",
    ["satp3", "satp3/", "satp3/*", "**", "/**", "*/**", "a/**/**", "a[bc]/**", "a?/**", "../a/**", "a//b/**"],
)
def test_bad_prefixes(prefix: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_prefix(prefix, Role.INGESTER)
    assert caught.value.remedy


@given(st.text(max_size=30))
def test_a_prefix_is_taken_or_refused_in_our_own_words(prefix: str) -> None:
    try:
        check_prefix(prefix, Role.READER)
    except LibrarianError:
        return
    assert prefix == "" or prefix.endswith("/**")


def test_an_admin_has_no_prefix() -> None:
    assert check_prefix("", Role.ADMIN) == ""
    with pytest.raises(InvalidInput, match="admin"):
        check_prefix("satp3/**", Role.ADMIN)


def test_globs_are_named_as_such() -> None:
    with pytest.raises(InvalidGlob):
        check_prefix("sat*/**", Role.READER)


@pytest.mark.parametrize("subject", ["", "   ", "a\nb", "a\x00", "x" * 201])
def test_bad_subjects(subject: str) -> None:
    with pytest.raises(InvalidInput):
        check_subject(subject)


def test_good_subjects() -> None:
    assert check_subject("Packaging job, SATp3 (ü)") == "Packaging job, SATp3 (ü)"


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_any_lifetime_is_taken_or_refused(seconds: int) -> None:
    try:
        end = expiry(NOW, seconds)
    except InvalidInput:
        assert seconds < 0 or seconds > 99 * 365 * 86400
        return
    assert end == (NOW + timedelta(seconds=seconds) if seconds else None)
