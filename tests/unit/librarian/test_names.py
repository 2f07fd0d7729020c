from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian.errors import InvalidName, InvalidStore
from librarian.names import (
    MAX_COMPONENT_BYTES,
    MAX_NAME_BYTES,
    ancestors,
    check_member_path,
    check_name,
    check_store_name,
    name_key,
    printable,
)

characters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0")
components = st.text(characters, min_size=1, max_size=60).filter(lambda part: part not in {".", ".."})
paths = st.lists(components, min_size=1, max_size=6).map("/".join)
anything = st.text(st.one_of(st.sampled_from("/.\0\ud800aé"), st.characters()), max_size=40)


@given(paths)
def test_what_posix_and_utf8_allow_is_allowed(path: str) -> None:
    assert check_member_path(path) == path
    if not path.lower().startswith(".librarian"):
        assert check_name(path) == path


@given(anything)
def test_what_is_accepted_lies_below_the_root_and_nowhere_else(text: str) -> None:
    try:
        check_name(text)
    except InvalidName:
        return
    parts = text.split("/")
    assert parts[0] != ".librarian"
    assert not {"", ".", ".."} & set(parts)
    assert "\0" not in text
    assert text.encode().decode() == text


@given(st.text(st.characters(), min_size=1, max_size=40))
def test_a_refusal_can_be_shown(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(f"/{text}")
    caught.value.message.encode()
    caught.value.metadata["name"].encode()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("", "is empty"),
        ("/a", "is absolute"),
        ("a/", "ends with a slash"),
        ("a//b", "an empty part"),
        (".", "`.`"),
        ("a/./b", "`.`"),
        ("..", "`..`"),
        ("a/../../etc/passwd", "`..`"),
        ("a\0b", "NUL"),
        ("a/\udcff", "UTF-8"),
        ("\ud800", "UTF-8"),
        ("x" * (MAX_COMPONENT_BYTES + 1), "longer than 255 bytes"),
        ("é" * 128, "longer than 255 bytes"),
        ("/".join(["x" * 200] * 11), "2210 bytes"),
    ],
)
def test_refused_with_its_reason(name: str, trouble: str) -> None:
    with pytest.raises(InvalidName, match=trouble):
        check_name(name)
    with pytest.raises(InvalidName, match=trouble):
        check_member_path(name)


def test_the_longest_allowed() -> None:
    assert check_name("x" * MAX_COMPONENT_BYTES)
    assert check_name("é" * 127)
    longest = "/".join(["x" * 203] * 10) + "/" + "y" * (MAX_NAME_BYTES - 2040)
    assert len(check_name(longest)) == MAX_NAME_BYTES
    with pytest.raises(InvalidName):
        check_name(longest + "y")


@pytest.mark.parametrize("name", [".librarian", ".librarian/staging/x", ".Librarian/x", ".LIBRARIAN"])
def test_the_stores_own_area_is_no_name(name: str) -> None:
    with pytest.raises(InvalidName, match="belongs to the store"):
        check_name(name)
    assert check_member_path(name) == name


@pytest.mark.parametrize(
    "name", [".librarian2", "a/.librarian", "...", ".a", "a.", " ", "-rf", "a\nb", "A/a"]
)
def test_odd_and_legal(name: str) -> None:
    assert check_name(name) == name


@given(paths)
def test_a_key_is_the_same_for_all_spellings(path: str) -> None:
    forms = {name_key(unicodedata.normalize(form, path)) for form in ("NFC", "NFD")}
    assert forms == {name_key(path)}
    assert name_key(name_key(path)) == name_key(path)


def test_a_key_keeps_case() -> None:
    assert name_key("Ab") != name_key("ab")
    assert name_key("caf\u0065\u0301") == "caf\u00e9"


@given(paths)
def test_ancestors_are_the_proper_prefixes(path: str) -> None:
    parts = path.split("/")
    assert ancestors(path) == ["/".join(parts[:count]) for count in range(1, len(parts))]


@given(st.text(st.characters(), max_size=300))
def test_what_is_shown_is_clean(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert shown.isprintable()
    if text.isprintable() and len(text) <= 200:
        assert shown == text


@pytest.mark.parametrize("name", ["a", "disk-07", "0_x", "a" * 63])
def test_store_names(name: str) -> None:
    assert check_store_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a" * 64, "a b", "-a", "_a", "a/b", "é", "a\n", "..", "\udcff"])
def test_no_store_names(name: str) -> None:
    with pytest.raises(InvalidStore, match="store's name"):
        check_store_name(name)
