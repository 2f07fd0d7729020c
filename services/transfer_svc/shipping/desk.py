"""A job in hand: what its work needs, how far it is, and whether it shall stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Lock

from librarian.handover import Stopped
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Context
from transfer_svc.movers.tasks import Hands
from transfer_svc.shipping.values import DiskJob


@dataclass(slots=True)
class Progress:
    """Written from any thread, read by the loop that tells of it."""

    step: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    done_count: int = 0
    total_count: int = 0
    _guard: Lock = field(default_factory=Lock)

    def begin(self, step: str, *, total_bytes: int = 0, total_count: int = 0) -> None:
        """A new step, from nothing."""
        with self._guard:
            self.step, self.done_bytes, self.done_count = step, 0, 0
            self.total_bytes, self.total_count = total_bytes, total_count

    def add(self, *, done_bytes: int = 0, done_count: int = 0) -> None:
        with self._guard:
            self.done_bytes += done_bytes
            self.done_count += done_count


@dataclass(slots=True)
class JobDesk:
    """`hands`: threads for bytes, bounded over all jobs of this worker. `stop`: set when the job shall end:
    it was cancelled, lost to another worker, or the worker stops.
    """

    context: Context
    keys: SiteKeys
    hands: Hands
    job: DiskJob
    progress: Progress = field(default_factory=Progress)
    stop: Event = field(default_factory=Event)
    # Lines for people, told when it is done.
    results: list[str] = field(default_factory=list)

    def tick(self, count: int) -> None:
        """So many more bytes are done. From any thread. Raises Stopped once the job shall end."""
        self.check()
        self.progress.add(done_bytes=count)

    def check(self) -> None:
        """Raises Stopped once the job shall end."""
        if self.stop.is_set():
            raise Stopped

    def say(self, lines: Sequence[str]) -> None:
        self.results.extend(lines)
