"""How long to wait before trying again. Pure: attempt and randomness come in, seconds go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling from `base` to `ceiling` seconds, each taken somewhere in its upper half."""

    base: float
    ceiling: float

    def delay(self, attempt: int, rand: float) -> float:
        """Seconds before try number `attempt` + 1 (the first failure is attempt 1); `rand` in [0, 1).

        The upper half: half the wait is certain, so that a crowd spreads and nobody hammers.
        """
        doublings = min(max(attempt, 1) - 1, 32)
        return float(min(self.ceiling, self.base * 2**doublings)) * (0.5 + rand / 2)


# A store or a catalogue that does not answer: a restart takes a second, a disabled store hours.
TROUBLE: Final = Backoff(base=0.25, ceiling=30.0)
# The path is held by another ingest about to be published: usually milliseconds.
HELD: Final = Backoff(base=0.05, ceiling=2.0)
