"""What movers share whose work is a task of this process: handles, and a start, end and stop for each."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from librarian.errors import InternalError, LibrarianError, NotFound
from librarian.handover import finished
from svckit.telemetry import Logger
from transfer_svc.movers.base import Batch, Capabilities, ItemProgress
from transfer_svc.movers.board import Board

# Tasks that have ended and that nobody has let go are remembered, the last so many.
_ENDED_KEPT = 64

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Hands:
    """A bounded number of threads for bytes."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="mover")

    async def do(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """In a thread, which has ended when this has: whoever cancels makes the work stop as well."""
        job = self._pool.submit(work, *args, **kwargs)
        future: asyncio.Future[Any] = asyncio.wrap_future(job)
        try:
            return cast("Result", await asyncio.shield(future))
        except asyncio.CancelledError:
            # One that has not begun never will. (The asyncio future could be cancelled in any case.)
            if not job.cancel():
                await finished(future)
            raise

    def close(self) -> None:
        self._pool.shutdown()


@dataclass(slots=True)
class _Running:
    board: Board
    task: asyncio.Task[None]


class TaskMover(ABC):
    """A mover but for the moving, which is `carry`. Its tasks end with this process."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._running: dict[str, _Running] = {}

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    @abstractmethod
    async def carry(self, batch: Batch, board: Board) -> None:
        """Until every item has come to its end. What it raises is the end of those that have not."""

    async def prepare(self, batch: Batch) -> str:
        return batch.batch_id

    async def start(self, batch: Batch, handle: str) -> None:
        known = self._running.pop(handle, None)
        if known is not None and not known.task.done():
            self._running[handle] = known
            return
        self._forget_some()
        board = Board(batch.items)
        name = f"{self.capabilities.name} {batch.batch_id}"
        self._running[handle] = _Running(board, asyncio.create_task(self._run(batch, board), name=name))

    async def poll(self, handle: str) -> Sequence[ItemProgress]:
        return self._known(handle).board.poll()

    async def wait(self, handle: str, seconds: float) -> None:
        await self._known(handle).board.wait(seconds)

    async def cancel(self, handle: str) -> None:
        running = self._running.pop(handle, None)
        if running is not None:
            await _stop([running])

    async def close(self) -> None:
        running = list(self._running.values())
        self._running.clear()
        await _stop(running)

    def _known(self, handle: str) -> _Running:
        found = self._running.get(handle)
        if found is None:
            raise NotFound(
                f"no task {handle[:80]} of mover {self.capabilities.name} is known", handle=handle[:80]
            )
        return found

    def _forget_some(self) -> None:
        ended = [handle for handle, running in self._running.items() if running.task.done()]
        for handle in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._running[handle]

    async def _run(self, batch: Batch, board: Board) -> None:
        error: LibrarianError = InternalError("the mover ended without a word about this item")
        try:
            await self.carry(batch, board)
        except LibrarianError as trouble:
            error = trouble
        except Exception:
            if board.stop.is_set():
                return
            self._logger.exception("mover_broken", mover=self.capabilities.name, batch_id=batch.batch_id)
            error = InternalError("the mover met an unexpected error; the worker's log has the details")
        board.fail_open(error)


async def _stop(running: Sequence[_Running]) -> None:
    for one in running:
        one.board.stop.set()
        one.task.cancel()
    for one in running:
        await finished(one.task)
