"""Being told to stop before there is an event loop to hear it: while everything is imported and begun."""

from __future__ import annotations

import signal
import sys
from typing import Final

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def heed_stops_at_once() -> None:
    """From now on each of `STOPS` ends this process as SystemExit(0), so that what was begun is cleared away;
    a second one does not interrupt that. An event loop's own handlers replace these.
    """
    for number in STOPS:
        signal.signal(number, _end)


def forget_stops() -> None:
    """In a process forked off: as in any that was just begun."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _end(_number: int, _frame: object) -> None:
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)
