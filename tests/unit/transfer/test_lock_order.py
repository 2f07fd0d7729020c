"""Statements that change many rows at once lock them in one order: else two of them end in a deadlock."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from svckit.database import HotStatement
from transfer_svc import queries, work_queries
from transfer_svc.receiving import queries as receiving_queries
from transfer_svc.receiving import work_queries as receiving_work
from transfer_svc.sending import batch_queries, changes, doubt_queries, plan_queries

MODULES = (
    queries,
    work_queries,
    receiving_queries,
    receiving_work,
    batch_queries,
    changes,
    doubt_queries,
    plan_queries,
)
# A statement's own rows, and those of the one batch, planner or route it is about.
ONE_ROW = {"batches", "planner", "routes"}


def statements(module: ModuleType) -> dict[str, str]:
    found = {name: value for name, value in vars(module).items() if isinstance(value, HotStatement)}
    found |= {
        f"{name}[{key}]": each
        for name, value in vars(module).items()
        if isinstance(value, dict)
        for key, each in value.items()
        if isinstance(each, HotStatement)
    }
    return {name: statement.sql for name, statement in found.items()}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_each_statement(module: ModuleType) -> None:
    unordered = []
    for name, sql in statements(module).items():
        changed = set(re.findall(r"(?:UPDATE|DELETE FROM) (\w+)(?: SET| WHERE| USING)", sql)) - ONE_ROW
        for table in changed:
            locks = re.findall(rf"FOR (?:NO KEY )?UPDATE OF {table}\b|SKIP LOCKED", sql)
            if not locks:
                unordered.append(f"{name}: {table}")
    assert unordered == []
