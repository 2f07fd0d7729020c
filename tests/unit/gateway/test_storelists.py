"""One list of stores out of several answers."""

from __future__ import annotations

from gateway.storelists import Answer, homes, merged
from librarian.api.store.v1.store_pb2 import Store


def test_stores_are_ordered_by_priority_then_name() -> None:
    answers = {
        "x": Answer([Store(name="b", priority=1), Store(name="c")]),
        "y": Answer([Store(name="a", priority=1)]),
    }
    assert [store.name for store in merged(answers)] == ["c", "a", "b"]


def test_trouble_is_told_on_a_copy() -> None:
    known = Store(name="a", root="/a")
    (told,) = merged({"x": Answer([known], trouble="gone")})
    assert (told.name, told.root, told.trouble) == ("a", "/a", "gone")
    assert known.trouble == ""


def test_a_services_own_word_about_a_store_stays() -> None:
    (told,) = merged({"x": Answer([Store(name="a", trouble="unmounted")])})
    assert told.trouble == "unmounted"


def test_a_service_of_which_nothing_is_known_stands_for_its_stores() -> None:
    (told,) = merged({"x": Answer([], trouble="gone")})
    assert (told.name, told.trouble, told.enabled) == ("(x)", "gone", False)
    assert merged({"x": Answer([])}) == []


def test_a_store_has_one_home_whatever_the_order() -> None:
    answers = {"y": Answer([Store(name="a"), Store(name="b")]), "x": Answer([Store(name="a")])}
    assert homes(answers) == {"a": "x", "b": "y"}
    assert homes(dict(reversed(answers.items()))) == homes(answers)
