"""The simulator's time: the machine's, and as much later as it was told to be."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SimClock:
    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


def told(seconds: float | None) -> str | None:
    """As Transfer writes times."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def heard(text: str) -> float:
    """A time that a client wrote: ISO 8601, UTC where it does not say. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
