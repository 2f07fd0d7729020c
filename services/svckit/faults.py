"""Named points at which a test makes this very process die, as `kill -9` would.

The fault file is JSON:
    {"kill_at": N}                   die at the N-th hit of any point
    {"kill_on": "name", "nth": k}    die at the k-th hit of that point
    {"trace": "path"}                append the name of each point hit to that file
Keys may be combined. The file is deleted before dying, so that a restarted process lives.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class FaultPlan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kill_at: int | None = None
    kill_on: str | None = None
    nth: int = 1
    trace: Path | None = None


class Faults:
    """Without a file: nothing happens. With one: it is read again whenever it has changed, and counts
    start anew then.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._version: tuple[int, int] | None = None
        self._plan = FaultPlan()
        self._counts: Counter[str] = Counter()

    def hit(self, name: str) -> None:
        """Say that execution has reached the point `name`. Does not return where the plan says die."""
        if self._file is not None:
            self._follow_plan(self._file, name)

    def _follow_plan(self, file: Path, name: str) -> None:
        self._refresh(file)
        if self._version is None:
            return
        self._counts[name] += 1
        if self._plan.trace is not None:
            with self._plan.trace.open("a") as trace:
                trace.write(f"{name}\n")
        dies = self._plan.kill_at is not None and self._counts.total() >= self._plan.kill_at
        dies |= self._plan.kill_on == name and self._counts[name] >= self._plan.nth
        if dies:
            file.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def _refresh(self, file: Path) -> None:
        try:
            stat = file.stat()
            version = (stat.st_mtime_ns, stat.st_ino)
            if version != self._version:
                self._plan = FaultPlan.model_validate(json.loads(file.read_text()))
                self._counts.clear()
                self._version = version
        except FileNotFoundError:
            self._version = None


NO_FAULTS = Faults()


def faults_of(file: str, service: str) -> Faults:
    """The faults of one service: each has its own file, `<file>.<service>`; "" means none."""
    return Faults(Path(f"{file}.{service}")) if file else NO_FAULTS
