"""Columns of a batch as arrays: one statement whatever the number of rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, LargeBinary, SmallInteger, Text, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.expression import BindParameter, TableValuedAlias
from sqlalchemy.types import TypeEngine

TEXT = Text()
BIGINT = BigInteger()
SMALLINT = SmallInteger()
BYTES = LargeBinary()
# SQLAlchemy keeps the names of a table's columns for itself.
_PREFIX = "all_"


def array(name: str, kind: TypeEngine[Any]) -> BindParameter[Any]:
    return bindparam(name, type_=ARRAY(kind))


def rows(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """The arrays given as `values_of` these names, side by side, as the table `given`."""
    values = [array(_PREFIX + name, kind) for name, kind in columns.items()]
    names = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*values).table_valued(*names, name="given").render_derived()


def values_of(**columns: list[Any]) -> dict[str, list[Any]]:
    """Parameters for `rows` of the same names."""
    return {_PREFIX + name: values for name, values in columns.items()}
