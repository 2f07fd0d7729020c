"""How far a piece of work is, for whoever draws it. Work adds from any thread; a display looks."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`done_bytes` of `total_bytes` (0: not known yet) in `phase`; `done_count` of `total_count` datasets.
    `trouble`: what holds it up, "" while nothing does.
    """

    phase: str
    trouble: str
    done_bytes: int
    total_bytes: int
    done_count: int
    total_count: int


class Progress:
    """Given to a long call; look at it with `snapshot` as often as you like."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = ""
        self._trouble = ""
        self._bytes = [0, 0]
        self._count = [0, 0]

    def begin(self, phase: str, *, total_bytes: int = 0, total_count: int = 0) -> None:
        """A new phase: counters start again."""
        with self._lock:
            self._phase, self._trouble = phase, ""
            self._bytes = [0, total_bytes]
            self._count = [0, total_count]

    def add(self, done_bytes: int) -> None:
        with self._lock:
            self._bytes[0] += done_bytes

    def add_count(self, done_count: int) -> None:
        with self._lock:
            self._count[0] += done_count

    def expect(self, *, more_bytes: int = 0, more_count: int = 0) -> None:
        with self._lock:
            self._bytes[1] += more_bytes
            self._count[1] += more_count

    def set(
        self,
        *,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        done_count: int | None = None,
        total_count: int | None = None,
    ) -> None:
        """Figures another process counted."""
        with self._lock:
            self._bytes = [_or(done_bytes, self._bytes[0]), _or(total_bytes, self._bytes[1])]
            self._count = [_or(done_count, self._count[0]), _or(total_count, self._count[1])]

    def held_up(self, trouble: str) -> None:
        """By what; "" when it goes on."""
        with self._lock:
            self._trouble = trouble

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(self._phase, self._trouble, *self._bytes, *self._count)


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


class MovingRate:
    """Units a second over the last `window_seconds`: a pause or a burst long ago does not mislead."""

    def __init__(self, window_seconds: float = 10.0) -> None:
        self._window = window_seconds
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self, now: float, done: float) -> None:
        """`done` so far at the monotonic time `now`. Going back starts anew."""
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, done))
        # One sample older than the window stays, so that the window is always spanned.
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._window:
            self._samples.popleft()

    def rate(self) -> float | None:
        """None until two samples are apart in time."""
        if len(self._samples) < 2:
            return None
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else None

    def seconds_left(self, total: float) -> float | None:
        """None where it cannot be told: no rate yet, or nothing moves."""
        rate = self.rate()
        if not rate or not self._samples:
            return None
        return max(0.0, total - self._samples[-1][1]) / rate
