"""When this worker has to look again although nobody calls: the ends of the waits it has imposed."""

from __future__ import annotations

import heapq
import math
from datetime import datetime
from typing import Final

# Times are rounded up to this (s), so that a thousand of them are one.
_GRAIN: Final = 0.05


class Alarm:
    """A hint like NOTIFY: what is forgotten with the process, the poll timer finds."""

    def __init__(self) -> None:
        self._ticks: list[int] = []
        self._known: set[int] = set()

    def set(self, due: datetime) -> None:
        tick = math.ceil(due.timestamp() / _GRAIN)
        if tick not in self._known:
            self._known.add(tick)
            heapq.heappush(self._ticks, tick)

    def wait(self, now: datetime, longest: float) -> float:
        """Seconds until the next time set, at most `longest`; those that are past are forgotten."""
        present = now.timestamp()
        while self._ticks:
            left = self._ticks[0] * _GRAIN - present
            if left > 0:
                return min(left, longest)
            self._known.discard(heapq.heappop(self._ticks))
        return longest
