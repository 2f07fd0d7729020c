"""Time and identifiers as inputs: what decides takes them, what runs passes the system's."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import uuid_utils


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...


class SystemClock:
    """`ahead`: of the machine's clock, for whoever tries what a wrong one does."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """Stands still until `advance` moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class Ids(Protocol):
    def new_uid(self) -> str:
        """A canonical lower-case UUID string; later ones sort after earlier ones."""
        ...


class SystemIds:
    def new_uid(self) -> str:
        return str(uuid_utils.uuid7())


class CountingIds:
    """00000000-0000-7000-8000-000000000001, …02 and so on: readable in a failing test."""

    def __init__(self) -> None:
        self._count = 0

    def new_uid(self) -> str:
        self._count += 1
        return f"00000000-0000-7000-8000-{self._count:012x}"
