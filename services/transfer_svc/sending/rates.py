"""How fast something goes, over the last seconds. Pure: times and counts come in."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 10.0


class Rate:
    """A moving window over a count that grows."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, at: float, count: int) -> int:
        """Units a second over the window; 0 while not known. `at`: monotonic seconds."""
        if self._seen and count < self._seen[-1][1]:
            # It began again.
            self._seen.clear()
        self._seen.append((at, count))
        while len(self._seen) > 2 and self._seen[1][0] <= at - self._window:
            self._seen.popleft()
        first_at, first_count = self._seen[0]
        return int((count - first_count) / (at - first_at)) if at > first_at else 0
