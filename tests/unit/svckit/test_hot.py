"""Statements compiled once."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, any_, bindparam, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from svckit.database import compile_hot

table = Table("t", MetaData(), Column("name", Text), Column("size", BigInteger))


def test_arguments_come_in_the_order_of_the_placeholders() -> None:
    statement = compile_hot(
        select(table.c.size)
        .where(table.c.name > bindparam("after"), table.c.size == 5, table.c.name != bindparam("after"))
        .limit(bindparam("count"))
    )
    assert "$1" in statement.sql
    arguments = statement.arguments(after="a", count=3)
    assert sorted(map(str, arguments)) in (["3", "5", "a"], ["3", "5", "a", "a"])
    assert [f"${i + 1}" in statement.sql for i in range(len(arguments))] == [True] * len(arguments)


def test_a_missing_argument_is_an_error() -> None:
    with pytest.raises(KeyError):
        compile_hot(select(table).where(table.c.name == bindparam("name"))).arguments()


def test_constants_may_be_given_anew() -> None:
    statement = compile_hot(select(table).where(table.c.size == bindparam("size", 1)))
    assert statement.arguments() == [1]
    assert statement.arguments(size=2) == [2]


def test_lists_go_as_arrays_not_as_in() -> None:
    statement = compile_hot(select(table).where(table.c.name == any_(bindparam("names", type_=ARRAY(Text)))))
    assert statement.arguments(names=["a", "b"]) == [["a", "b"]]
    with pytest.raises(ValueError, match="any"):
        compile_hot(select(table).where(table.c.name.in_(bindparam("names", expanding=True))))


def test_inserts_too() -> None:
    statement = compile_hot(insert(table).values(name=bindparam("n"), size=7))
    assert sorted(map(str, statement.arguments(n="x"))) == ["7", "x"]
