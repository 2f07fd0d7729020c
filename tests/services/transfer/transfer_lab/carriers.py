"""A mover for tests: writes each item as a file where the receiver said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from librarian.errors import LibrarianError, NotFound
from transfer_svc.movers.base import Batch, Capabilities, ItemProgress, ItemState


class Carrier:
    """`errors`: by name, one for each try. `gate` closed: nothing arrives until it is opened. `log`: a file
    that has a line for each dataset that was brought, also by processes that died since.
    """

    def __init__(self, log: Path, *, max_items: int = 1000, parallel: int = 2, name: str = "stream") -> None:
        self.errors: dict[str, list[LibrarianError]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[Batch] = []
        self.cancelled: list[str] = []
        self._log = log
        self._capabilities = Capabilities(
            name, durable=False, agreed_landing=False, max_items=max_items, parallel=parallel
        )
        self._tasks: dict[str, Batch] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def prepare(self, batch: Batch) -> str:
        return f"carry-{batch.batch_id}-{len(self.batches)}"

    async def start(self, batch: Batch, handle: str) -> None:
        self._tasks[handle] = batch
        self.batches.append(batch)

    async def poll(self, handle: str) -> Sequence[ItemProgress]:
        batch = self._tasks.get(handle)
        if batch is None:
            raise NotFound("no such task")
        found = []
        for item in batch.items:
            if errors := self.errors.get(item.name):
                found.append(ItemProgress(item.upload_id, ItemState.FAILED, error=errors.pop(0)))
            elif self.gate.is_set():
                place = Path(item.landing.staging_path) / item.upload_id
                if not place.exists():
                    with self._log.open("a") as log:
                        log.write(f"{item.uid}\n")
                    place.write_text(item.name)
                found.append(ItemProgress(item.upload_id, ItemState.MOVED, item.size_bytes))
            else:
                found.append(ItemProgress(item.upload_id, ItemState.MOVING, item.size_bytes // 2))
        return found

    async def wait(self, handle: str, seconds: float) -> None:
        if not self.gate.is_set():
            await asyncio.wait([asyncio.ensure_future(self.gate.wait())], timeout=min(seconds, 0.1))

    async def cancel(self, handle: str) -> None:
        self._tasks.pop(handle, None)
        self.cancelled.append(handle)

    async def close(self) -> None:
        self._tasks.clear()
