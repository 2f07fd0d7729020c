"""Rows locked in one order before a statement of many changes them.

An UPDATE or DELETE locks rows as its plan meets them. Two that share rows and meet them in different orders
wait for each other until PostgreSQL ends one of them. Locked in the order of their keys first, one waits for
the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Table, and_, select


def in_order(
    table: Table,
    *conditions: ColumnElement[bool],
    carrying: Sequence[ColumnElement[Any]] = (),
    deleting: bool = False,
) -> CTE:
    """The rows that fit, locked; the statement takes them by `locked` and what it writes from `carrying`,
    columns of what `conditions` join the table with. `deleting`: as strongly as a DELETE does.
    """
    key = table.primary_key.columns
    return (
        select(*key, *carrying)
        .where(*conditions)
        .order_by(*key)
        .with_for_update(of=table, key_share=not deleting)
        .cte(f"{table.name}_in_order")
    )


def locked(table: Table, chosen: CTE) -> ColumnElement[bool]:
    """The rows of `table` that `in_order` has locked."""
    return and_(*[column == chosen.c[column.name] for column in table.primary_key.columns])
