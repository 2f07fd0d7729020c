"""The table for people and the list for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.rows import Row


def write_json(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def print_table(rows: Sequence[Row], console: Console) -> None:
    table = Table(title="Librarian, beside what this machine can do at best")
    table.add_column("measured", overflow="fold")
    for heading in ("value", "limit", "ratio", "target", "spread", "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the limit is", overflow="fold")
    for row in rows:
        style = {True: "green", False: "red", None: ""}[row.met]
        table.add_row(
            row.name,
            f"{_figure(row.value)} {row.unit}",
            _figure(row.limit_value),
            f"[{style}]{_figure(row.ratio)}[/]" if style else _figure(row.ratio),
            "" if row.target is None else _figure(row.target),
            f"{100 * row.spread:.0f} %",
            str(row.rounds),
            row.limit,
        )
    console.print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
