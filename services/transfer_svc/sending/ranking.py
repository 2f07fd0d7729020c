"""The order of the queue. Pure.

A rank is fixed when a transfer is planned or prioritized: the time it was planned less a head start for its
priority. So an index serves the order, the urgent overtake, and what waits long enough comes before anything
newer, however urgent that is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

HEAD_START_SECONDS: Final = 6 * 3600.0
LOWEST: Final = -100
HIGHEST: Final = 100


def rank(plan_time: datetime, priority: int) -> float:
    """Lower goes first."""
    return plan_time.timestamp() - priority * HEAD_START_SECONDS
