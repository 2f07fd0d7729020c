"""How the items of one task stand: written by its threads and its loop, read by whoever polls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Lock

from librarian.errors import LibrarianError
from librarian.handover import Stopped
from transfer_svc.movers.base import Item, ItemProgress, ItemState


class Board:
    """Ends of items are told on the loop, bytes from any thread. `stop` is set when the task shall end."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._progress = {item.upload_id: ItemProgress(item.upload_id, ItemState.MOVING) for item in items}
        self._sizes = {item.upload_id: item.size_bytes for item in items}
        self._guard = Lock()
        self._ended = asyncio.Event()
        self.stop = Event()

    def add_bytes(self, upload_id: str, count: int) -> None:
        """So many more are at the landing. Raises Stopped once the task shall end."""
        if self.stop.is_set():
            raise Stopped
        with self._guard:
            known = self._progress[upload_id]
            self._progress[upload_id] = replace(known, moved_bytes=known.moved_bytes + count)

    def set_bytes(self, upload_id: str, count: int) -> None:
        """So many are at the landing in all."""
        with self._guard:
            self._progress[upload_id] = replace(self._progress[upload_id], moved_bytes=count)

    def moved(self, upload_ids: Iterable[str]) -> None:
        with self._guard:
            for upload_id in upload_ids:
                size = self._sizes[upload_id]
                self._progress[upload_id] = ItemProgress(upload_id, ItemState.MOVED, size)
        self._ended.set()

    def failed(self, upload_id: str, error: LibrarianError) -> None:
        with self._guard:
            self._progress[upload_id] = replace(
                self._progress[upload_id], state=ItemState.FAILED, error=error
            )
        self._ended.set()

    def fail_open(self, error: LibrarianError) -> None:
        """For what is about the whole task: every item that has not come to its end."""
        for upload_id in self.open_ids():
            self.failed(upload_id, error)

    def open_ids(self) -> list[str]:
        """Items that have not come to their end."""
        with self._guard:
            return [one.upload_id for one in self._progress.values() if one.state is ItemState.MOVING]

    def poll(self) -> list[ItemProgress]:
        with self._guard:
            self._ended.clear()
            return list(self._progress.values())

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
