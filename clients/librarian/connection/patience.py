"""Going on after a break: as often as it takes while something moves, not for ever when nothing does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from librarian.errors import ChunkCorrupt, DeadlineExceeded, LibrarianError, OffsetMismatch, Unavailable

Result = TypeVar("Result")

# Without any progress for so long, a broken connection is told; put and get stay resumable.
PATIENCE_SECONDS = 60.0

# Passing troubles, by class: the network, a service that restarts, a damaged or misplaced chunk.
PASSING: tuple[type[LibrarianError], ...] = (Unavailable, DeadlineExceeded, ChunkCorrupt, OffsetMismatch)


@dataclass(slots=True)
class Patience:
    """Waits double from `first_seconds` up to `longest_seconds`, with jitter; after `seconds` without
    progress there is no more. Times are those of a monotonic clock, in seconds.
    """

    seconds: float
    first_seconds: float = 0.1
    longest_seconds: float = 5.0
    rng: random.Random = field(default_factory=random.Random)
    _wait: float = 0.0
    _since: float | None = None

    def progressed(self) -> None:
        self._wait = 0.0
        self._since = None

    def next_wait(self, now: float) -> float | None:
        """Seconds to wait before the next try; None when it is time to give up."""
        if self._since is None:
            self._since = now
        left = self._since + self.seconds - now
        if left <= 0:
            return None
        self._wait = min(self.longest_seconds, self._wait * 2 or self.first_seconds)
        return min(left, self._wait * self.rng.uniform(0.75, 1.25))


async def keep_trying(attempt: Callable[[], Awaitable[Result]], patience: Patience) -> Result:
    """The result of the first attempt that meets no passing trouble; the last trouble when patience ends."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            result = await attempt()
        except PASSING:
            wait = patience.next_wait(loop.time())
            if wait is None:
                raise
            await asyncio.sleep(wait)
        else:
            patience.progressed()
            return result


async def wait_again(patience: Patience, error: LibrarianError) -> None:
    """Before the next try of a stream that broke with a passing trouble; raises it when patience ends."""
    wait = patience.next_wait(asyncio.get_running_loop().time())
    if wait is None:
        raise error
    await asyncio.sleep(wait)
