"""Blocking work in threads that ends soon after the task that wants it was cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from librarian.handover import Stopped, finished
from librarian.progress import Progress

Result = TypeVar("Result")


class Work:
    """Threads of one job: they call `tick` often, which ends them once the job is over."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._stop = threading.Event()

    def tick(self, done_bytes: int) -> None:
        """From any thread that moves bytes."""
        if self._stop.is_set():
            raise Stopped
        self.progress.add(done_bytes)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """As asyncio.to_thread, but when cancelled it ends the work and waits for its end."""
        results: list[Result] = []
        task = asyncio.ensure_future(asyncio.to_thread(lambda: results.append(work())))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop.set()
            await finished(task)
            raise
        return results[0]
