"""When a service that ended is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    first_seconds: float = 0.1
    factor: float = 2.0
    ceiling_seconds: float = 30.0
    # A run that lasted so long was a good one: what went wrong before it is forgotten.
    steady_seconds: float = 60.0

    def failures_after(self, failures: int, *, ran_seconds: float) -> int:
        """Failures in a row, the run that just ended counted."""
        return 1 if ran_seconds >= self.steady_seconds else failures + 1

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (one or more)."""
        # The exponent is bounded: 2.0 ** 1024 is an error, and the ceiling is reached long before.
        return min(self.ceiling_seconds, self.first_seconds * self.factor ** min(failures - 1, 64))


def describe_exit(status: int) -> str:
    """How a process ended, from os.waitstatus_to_exitcode: a negative number is a signal's."""
    if status < 0:
        return f"was killed by signal {-status}"
    return f"ended with code {status}"
