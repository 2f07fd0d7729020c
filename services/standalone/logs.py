"""Log files that do not grow for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

MAX_BYTES = 10 << 20
KEPT = 3


def rotate(directory: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
    """Copies each log that is too long aside, as .1 of `kept`, and empties it.

    The writers hold their files open for appending and know nothing of it; a line written between copy
    and truncation is lost. That is the price for one way that also serves PostgreSQL.
    """
    for log in directory.glob("*.log"):
        if log.stat().st_size <= max_bytes:
            continue
        for number in range(kept - 1, 0, -1):
            older = _numbered(log, number)
            if older.exists():
                older.replace(_numbered(log, number + 1))
        shutil.copyfile(log, _numbered(log, 1))
        with log.open("r+b") as file:
            file.truncate(0)


def tail(log: Path, lines: int = 5) -> str:
    """Its last lines, on one line; empty where there is no log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        text = file.read().decode(errors="replace")
    return " | ".join(text.strip().splitlines()[-lines:])


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
