"""Page tokens and page sizes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian.errors import InvalidInput, InvalidPageToken
from svckit.paging import _digest, decode_page_token, encode_page_token, page_size

keys = st.lists(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False)), max_size=4
)


@given(keys, st.binary(max_size=40))
def test_a_token_gives_back_its_keys(values: list[str | int], binding: bytes) -> None:
    assert decode_page_token(encode_page_token(values, binding=binding), binding=binding) == values


@given(keys, st.binary(max_size=40), st.binary(max_size=40))
def test_a_token_of_another_request_is_refused(values: list[str | int], one: bytes, other: bytes) -> None:
    token = encode_page_token(values, binding=one)
    if one != other:
        with pytest.raises(InvalidPageToken):
            decode_page_token(token, binding=other)


@given(st.text(max_size=60))
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(InvalidPageToken):
        decode_page_token(token, binding=b"")


@pytest.mark.parametrize(
    "payload", [b"", b"3", b"{}", b"[", b"[[1]]", b"[{}]", b"\xff", b"[" * 5000, b"1" * 20_000]
)
def test_a_token_made_by_hand_breaks_nothing(payload: bytes) -> None:
    token = base64.urlsafe_b64encode(_digest(payload, b"x") + payload).decode()
    with pytest.raises(InvalidPageToken):
        decode_page_token(token, binding=b"x")


def test_the_longest_names_fit() -> None:
    keys = ["\U0001f52d" * 512, "é" * 1024]
    assert decode_page_token(encode_page_token(keys, binding=b"x"), binding=b"x") == keys


@pytest.mark.parametrize(("requested", "given"), [(0, 100), (1, 1), (1000, 1000), (5000, 1000)])
def test_page_size(requested: int, given: int) -> None:
    assert page_size(requested) == given


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidInput):
        page_size(-1)
