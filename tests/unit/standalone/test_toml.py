"""What is written is read back the same, whatever it is."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from standalone.toml import dump_toml, merge

# Lone surrogates are no text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.lists(texts, max_size=3),
)
tables = st.recursive(
    st.dictionaries(texts, values, max_size=4),
    lambda below: st.dictionaries(texts, values | below, max_size=4),
    max_leaves=12,
)


def without_empty_tables(table: dict[str, object]) -> dict[str, object]:
    pruned = {k: without_empty_tables(v) if isinstance(v, dict) else v for k, v in table.items()}
    return {key: value for key, value in pruned.items() if value != {}}


@given(tables)
def test_written_and_read_is_the_same(table: dict[str, object]) -> None:
    assert tomllib.loads(dump_toml(table)) == without_empty_tables(table)


def test_a_comment_stays_a_comment() -> None:
    text = dump_toml({"site": {"name": "apex"}}, comment="two\nlines")
    assert text == '# two\n# lines\n\n[site]\nname = "apex"\n'


def test_merge_goes_table_by_table() -> None:
    under = {"store": {"hash_threads": 2, "listen": "a"}, "site": {"name": "x"}}
    over = {"store": {"hash_threads": 8}, "faults": {"file": "f"}}
    assert merge(under, over) == {
        "store": {"hash_threads": 8, "listen": "a"},
        "site": {"name": "x"},
        "faults": {"file": "f"},
    }


def test_a_table_gives_way_to_a_value() -> None:
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
