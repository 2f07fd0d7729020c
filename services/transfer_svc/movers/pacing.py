"""Bytes per second, shared by whatever sends on one route."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from weakref import WeakValueDictionary

from transfer_svc.movers.base import Batch

# Time lost by waking up late may be made good, so much of it at most (s).
_CATCH_UP_SECONDS = 0.1


class Pace:
    """A token bucket that tells how long to wait. In a time t at most rate * (t + 0.1 s) bytes start, and
    one chunk. For any number of threads.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = float("-inf")
        self._guard = Lock()

    def reserve(self, count: int, now: float) -> float:
        """Seconds until `count` bytes may be sent; they are taken as sent. `now`: monotonic, in seconds."""
        with self._guard:
            start = max(self._free_at, now - _CATCH_UP_SECONDS)
            self._free_at = start + count / self.bytes_per_second
            return max(0.0, start - now)


class Paces:
    """The pace of each route that is in use. `now`: a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._paces: WeakValueDictionary[tuple[str, str], Pace] = WeakValueDictionary()

    def of(self, batch: Batch) -> Pace | None:
        """None: no limit. A limit that was changed holds for all batches at once."""
        if not batch.max_bytes_per_second:
            return None
        key = (batch.peer, batch.route)
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace(batch.max_bytes_per_second)
        pace.bytes_per_second = batch.max_bytes_per_second
        return pace
