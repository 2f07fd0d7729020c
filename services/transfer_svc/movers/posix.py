"""Mover `posix`: both stores are in sight of this process, on one file system or mounted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from librarian.errors import InternalError, LibrarianError
from librarian.handover import Stopped
from librarian.ingest.local import StagingArea
from svckit.telemetry import Logger
from transfer_svc.movers.base import Batch, Capabilities, Item
from transfer_svc.movers.board import Board
from transfer_svc.movers.copying import Copier
from transfer_svc.movers.landings import agreed_root, check_upload_id, proven_area
from transfer_svc.movers.pacing import Pace, Paces
from transfer_svc.movers.sources import Looker, Root, roots_of, unseen
from transfer_svc.movers.tasks import Hands, TaskMover
from transfer_svc.stores import Stores

_LANES: Final = 4
# A group goes to a thread at once: handing one tiny file over costs as much as copying it.
_GROUP_ITEMS: Final = 128
_GROUP_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class _Job:
    item: Item
    root: Root
    area: StagingArea


class PosixMover(TaskMover):
    def __init__(self, stores: Stores, hands: Hands, paces: Paces, logger: Logger) -> None:
        super().__init__(logger)
        self._stores = stores
        self._hands = hands
        self._paces = paces

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("posix", durable=False, agreed_landing=True, max_items=1000, parallel=4)

    async def carry(self, batch: Batch, board: Board) -> None:
        agreed = agreed_root(batch)
        jobs = await self._jobs(batch, agreed, board)
        groups = deque(_groups(jobs))
        pace = self._paces.of(batch)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(_LANES, len(groups))):
                lanes.create_task(self._lane(groups, pace, board))

    async def _lane(self, groups: deque[list[_Job]], pace: Pace | None, board: Board) -> None:
        while groups and not board.stop.is_set():
            group = groups.popleft()
            verdicts = await self._hands.do(_copy_group, group, board, pace, self._paces)
            ended = list(zip(group, verdicts, strict=True))
            board.moved(job.item.upload_id for job, error in ended if error is None)
            for job, error in ended:
                if error is not None:
                    board.failed(job.item.upload_id, error)

    async def _jobs(self, batch: Batch, agreed: str, board: Board) -> list[_Job]:
        """Those that can be tried; the others have failed on the board."""
        roots, troubles = await roots_of(self._stores, self._hands, {item.store for item in batch.items})
        areas: dict[str, StagingArea | LibrarianError] = {}
        jobs = []
        for item in batch.items:
            key = item.landing.staging_path
            if key not in areas:
                areas[key] = await self._hands.do(_area_or_error, item, agreed)
            area, root = areas[key], roots.get(item.store)
            if isinstance(area, LibrarianError):
                board.failed(item.upload_id, area)
            elif root is None:
                board.failed(item.upload_id, troubles.get(item.store) or unseen(item.store))
            else:
                jobs.append(_Job(item, root, area))
        return jobs


def _area_or_error(item: Item, agreed: str) -> StagingArea | LibrarianError:
    try:
        return proven_area(item.landing, agreed)
    except LibrarianError as error:
        return error


def _groups(jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """In order; what is large is alone."""
    group: list[_Job] = []
    size = 0
    for job in jobs:
        if group and (size + job.item.size_bytes > _GROUP_BYTES or len(group) >= _GROUP_ITEMS):
            yield group
            group, size = [], 0
        group.append(job)
        # Each member of a directory costs about as much as so many bytes.
        size += job.item.size_bytes + (job.item.member_count << 15)
    if group:
        yield group


def _copy_group(
    group: Sequence[_Job], board: Board, pace: Pace | None, paces: Paces
) -> list[LibrarianError | None]:
    """Blocking. A verdict each, in order. Raises Stopped."""
    lookers: dict[str, Looker] = {}

    def paced(count: int) -> None:
        assert pace is not None, "called where there is a limit"
        if board.stop.wait(pace.reserve(count, paces.now())):
            raise Stopped

    verdicts: list[LibrarianError | None] = []
    for job in group:
        upload_id = job.item.upload_id
        looker = lookers.setdefault(job.item.store, Looker(job.root))

        def tick(count: int, upload_id: str = upload_id) -> None:
            board.add_bytes(upload_id, count)

        try:
            check_upload_id(upload_id)
            sight = looker.look(job.item)
            Copier(job.area, tick, paced if pace else None).copy(sight, upload_id)
        except LibrarianError as error:
            verdicts.append(looker.told(error))
        except OSError as error:
            verdicts.append(InternalError(f"copying met an unexpected error: {error}"))
        else:
            verdicts.append(None)
    return verdicts
