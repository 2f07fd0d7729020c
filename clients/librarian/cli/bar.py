"""A progress bar on stderr: bytes, rate and time left from a moving window. Where no terminal is, only what
holds the work up is told, once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from librarian.cli.texts import clock_text, count_text, rate_text, size_text
from librarian.progress import MovingRate, Progress, Snapshot

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

# Work that is done sooner shows no bar: it would only flicker.
PATIENCE_SECONDS = 0.4
REFRESH_SECONDS = 0.1


@asynccontextmanager
async def shown(progress: Progress) -> AsyncIterator[None]:
    """Draws `progress` while the body runs."""
    task = asyncio.create_task(_draw(progress) if sys.stderr.isatty() else _tell(progress))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _tell(progress: Progress) -> None:
    told = ""
    while True:
        await asyncio.sleep(1)
        trouble = progress.snapshot().trouble
        if trouble and trouble != told:
            told = trouble
            sys.stderr.write(f"waiting: {trouble}\n")


async def _draw(progress: Progress) -> None:
    await asyncio.sleep(PATIENCE_SECONDS)
    bar = _rich_bar()
    figures = Figures()
    now = asyncio.get_running_loop().time
    with bar:
        task = bar.add_task("", total=None, figures="")
        told = ""
        while True:
            snapshot = progress.snapshot()
            figures.look(snapshot, now())
            if snapshot.trouble and snapshot.trouble != told:
                told = snapshot.trouble
                bar.console.print(f"waiting: {told}", markup=False, highlight=False)
            bar.update(
                task,
                description=snapshot.phase,
                total=figures.total(snapshot),
                completed=figures.done(snapshot),
                figures=figures.text(snapshot),
            )
            bar.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


def _rich_bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        expand=True,
    )


class Figures:
    """What stands beside the bar. By bytes where there are bytes, else by count."""

    def __init__(self) -> None:
        self._phase = ""
        self._rate = MovingRate()

    def look(self, snapshot: Snapshot, now: float) -> None:
        if snapshot.phase != self._phase:
            self._phase = snapshot.phase
            self._rate = MovingRate()
        self._rate.sample(now, self.done(snapshot))

    def done(self, snapshot: Snapshot) -> int:
        return snapshot.done_bytes if _by_bytes(snapshot) else snapshot.done_count

    def total(self, snapshot: Snapshot) -> int | None:
        """None where it is not known."""
        return (snapshot.total_bytes if _by_bytes(snapshot) else snapshot.total_count) or None

    def text(self, snapshot: Snapshot) -> str:
        parts = []
        total = self.total(snapshot)
        rate = self._rate.rate()
        if snapshot.total_count > 1 or not _by_bytes(snapshot):
            done = count_text(snapshot.done_count)
            parts.append(f"{done}/{count_text(snapshot.total_count)}" if snapshot.total_count else done)
        if _by_bytes(snapshot):
            done = size_text(snapshot.done_bytes)
            parts.append(f"{done}/{size_text(total)}" if total else done)
            if rate:
                parts.append(rate_text(rate))
        elif rate:
            parts.append(f"{rate:,.0f}/s")
        left = self._rate.seconds_left(total) if total else None
        if left is not None:
            parts.append(clock_text(left))
        return "  ".join(parts)


def _by_bytes(snapshot: Snapshot) -> bool:
    return bool(snapshot.total_bytes or snapshot.done_bytes)
