"""Page tokens and page sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian.errors import InvalidInput, InvalidPageToken
from svckit.paging import decode_page_token, encode_page_token, page_size

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


def test_binding_and_keys_do_not_run_into_each_other() -> None:
    token = encode_page_token(["a"], binding=b"x")
    with pytest.raises(InvalidPageToken):
        decode_page_token(token, binding=b'x["a"]')


@pytest.mark.parametrize(("requested", "given"), [(0, 100), (1, 1), (1000, 1000), (5000, 1000)])
def test_page_size(requested: int, given: int) -> None:
    assert page_size(requested) == given


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidInput):
        page_size(-1)
