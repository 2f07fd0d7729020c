"""Sizes, times and tags as people write them. Pure; raises typer.BadParameter, which is wrong usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import typer

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kmgtpe]?i?)b?", re.IGNORECASE)
_AGO = re.compile(r"(?P<number>\d+)\s*(?P<unit>[smhdw])")
_POWERS = {letter: power for power, letter in enumerate("kmgtpe", start=1)}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def size(text: str, option: str) -> int:
    """Bytes of `1.5GB` (10^9) or `1.5GiB` (2^30); a plain number is bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{option}: {text!r} is not a size; write 500, 20MB, 1.5GiB")
    unit = found["unit"].lower()
    base = 1024 if unit.endswith("i") else 1000
    return int(float(found["number"]) * base ** _POWERS.get(unit.rstrip("i"), 0))


def rate(text: str, option: str) -> int:
    """Bytes a second of `5MB/s` or `5MB`; 0 for `none`."""
    plain = text.strip().removesuffix("/s").strip()
    if plain.lower() == "none":
        return 0
    if _SIZE.fullmatch(plain) is None:
        raise typer.BadParameter(f"{option}: {text!r} is not a rate; write 5MB/s, 1.5GiB/s, or none")
    return size(plain, option)


def moment(text: str, option: str, *, now: datetime) -> datetime:
    """A time with a zone: `2026-11-22`, `2026-11-22T15:04[:05][Z]` (local unless it says otherwise), or
    how long ago: `90m`, `12h`, `7d`, `2w`.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - timedelta(seconds=int(ago["number"]) * _SECONDS[ago["unit"]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{option}: {text!r} is not a time; write 2026-11-22, 2026-11-22T15:04Z, or 7d for a week ago"
        ) from None
    return found if found.tzinfo is not None else found.astimezone()


def duration(text: str, option: str) -> int:
    """Seconds of `90m`, `12h`, `7d`, `2w`."""
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{option}: {text!r} is not a duration; write 90m, 12h, 7d or 2w")
    return int(found["number"]) * _SECONDS[found["unit"]]


def tags(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` each; a key alone has an empty value."""
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise typer.BadParameter(f"--tag: {text!r} has no key; write kind=science")
        found[key] = value
    return found


def mode(text: str, option: str) -> int:
    """Permission bits, octal."""
    try:
        found = int(text, 8)
    except ValueError:
        found = -1
    if not 0 <= found <= 0o7777:
        raise typer.BadParameter(f"{option}: {text!r} is not a mode; write it octal, as 0644")
    return found
