"""What commands print: one JSON value, or text for people. stdout is theirs alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from librarian.cli.exits import error_text
from librarian.errors import LibrarianError


class Verdict(Enum):
    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


_COLOURS = {Verdict.GOOD: 32, Verdict.DOUBTFUL: 33, Verdict.BAD: 31}


class Output:
    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def is_terminal(self) -> bool:
        return sys.stdout.isatty()

    def value(self, value: Any) -> None:
        """The one JSON value of this command."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if self.is_terminal else None) + "\n")

    def json_line(self, value: Any) -> None:
        """One of many values of a command that goes on: each on a line of its own, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def array(self) -> JsonArray:
        """As `value`, for lists that may be too long to hold."""
        return JsonArray()

    def line(self, text: str = "") -> None:
        sys.stdout.write(text + "\n")

    def note(self, text: str) -> None:
        """For people, beside the result: on stderr, and not with --json."""
        if not self.as_json:
            sys.stdout.flush()
            sys.stderr.write(text + "\n")

    def error(self, error: LibrarianError) -> None:
        """Of one item; the command goes on. With --json it is part of the value."""
        if not self.as_json:
            sys.stdout.flush()
            sys.stderr.write(error_text(error, as_json=False) + "\n")

    def bold(self, text: str) -> str:
        return self._styled(text, 1)

    def dim(self, text: str) -> str:
        return self._styled(text, 2)

    def judged(self, text: str, verdict: Verdict) -> str:
        return self._styled(text, _COLOURS[verdict])

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        title, *lines = table_lines(columns, rows)
        self.line(self.bold(title))
        for line in lines:
            self.line(line)

    def _styled(self, text: str, number: int) -> str:
        plain = not self.is_terminal or "NO_COLOR" in os.environ
        return text if plain else f"\x1b[{number}m{text}\x1b[0m"


class JsonArray:
    """Writes an array item by item, so that a million datasets need no memory."""

    def __init__(self) -> None:
        self._opened = False

    def add(self, value: Any) -> None:
        sys.stdout.write(("," if self._opened else "[") + "\n " + json.dumps(value, ensure_ascii=False))
        self._opened = True

    def end(self) -> None:
        sys.stdout.write("\n]\n" if self._opened else "[]\n")


class Column:
    """`right`: figures. The last column of a table is never cut: names are what people copy."""

    def __init__(self, title: str, *, right: bool = False) -> None:
        self.title = title
        self.right = right

    def fit(self, text: str, width: int) -> str:
        return text.rjust(width) if self.right else text.ljust(width)


def table_lines(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, widths: Sequence[int] = ()
) -> list[str]:
    """Title and rows, aligned, two spaces apart. Columns in which nothing stands are left out; `widths`
    are the least there shall be.
    """
    held = [list(row) for row in rows]
    used = [index for index in range(len(columns)) if not held or any(row[index] for row in held)]
    sizes = {
        index: max(
            len(columns[index].title),
            widths[index] if widths else 0,
            *(len(row[index]) for row in held),
            0,
        )
        for index in used
    }
    lines = [[column.title for column in columns], *held]
    return [
        "  ".join(columns[index].fit(line[index], sizes[index]) for index in used).rstrip() for line in lines
    ]
