"""Mover `rsync`: a process that reads a store of this site and writes where the receiver's rsync reaches.

When this process is killed, the one that is under way goes on to its end, unseen: it writes the same bytes
to the same place as the next one, which is harmless.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from librarian.errors import LibrarianError, SourceChanged
from librarian.manifests import DatasetKind
from librarian.names import printable
from svckit.telemetry import Logger
from transfer_svc.movers.base import Batch, Capabilities, Item
from transfer_svc.movers.board import Board
from transfer_svc.movers.landings import agreed_root, check_upload_id
from transfer_svc.movers.pacing import Pace, Paces
from transfer_svc.movers.rsyncaddress import RsyncAddress, agreed_address
from transfer_svc.movers.rsyncerrors import error_of, may_be_one_of_many
from transfer_svc.movers.rsyncprocess import command, run
from transfer_svc.movers.sources import Looker, Root, Sight, roots_of, unseen
from transfer_svc.movers.tasks import Hands, TaskMover
from transfer_svc.stores import Stores

# Processes of one batch at once; one with a limit, which holds for each process by itself.
_LANES: Final = 3
# Files that go by one process. A directory has one of its own: rsync cannot give many a new name each.
_GROUP_ITEMS: Final = 256
_GROUP_BYTES: Final = 64 << 20
# Files this large are gone on with at the end of what is there. To find out what is the same in it, as for
# smaller ones, both sides would read all of it; the receiver re-reads it anyway.
_APPEND_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Job:
    item: Item
    root: Root
    area: RsyncAddress


class RsyncMover(TaskMover):
    def __init__(self, stores: Stores, hands: Hands, paces: Paces, logger: Logger) -> None:
        super().__init__(logger)
        self._stores = stores
        self._hands = hands
        self._paces = paces
        self._limited: WeakKeyDictionary[Pace, asyncio.Lock] = WeakKeyDictionary()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("rsync", durable=False, agreed_landing=True, max_items=1000, parallel=2)

    async def carry(self, batch: Batch, board: Board) -> None:
        agreed = agreed_root(batch)
        groups = deque(_groups(await self._jobs(batch, agreed, board)))
        pace = self._paces.of(batch)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(_LANES, len(groups))):
                lanes.create_task(self._lane(groups, pace, board))

    async def _jobs(self, batch: Batch, agreed: str, board: Board) -> list[_Job]:
        """Those that can be tried; the others have failed on the board."""
        roots, troubles = await roots_of(self._stores, self._hands, {item.store for item in batch.items})
        jobs = []
        for item in batch.items:
            try:
                check_upload_id(item.upload_id)
                area = agreed_address(item.landing.rsync_address, agreed)
                if item.store not in roots:
                    raise troubles.get(item.store) or unseen(item.store)
            except LibrarianError as error:
                board.failed(item.upload_id, error)
            else:
                jobs.append(_Job(item, roots[item.store], area))
        return jobs

    async def _lane(self, groups: deque[list[_Job]], pace: Pace | None, board: Board) -> None:
        while groups:
            await self._move(groups.popleft(), pace, board)

    async def _move(self, group: list[_Job], pace: Pace | None, board: Board) -> None:
        """A group that one of them spoils is halved until that one is alone."""
        before = await self._look(group, board)
        group = [job for job in group if job.item.upload_id in before]
        if not group:
            return
        error = await self._sync(group, before, pace, board)
        if error is not None and len(group) > 1 and may_be_one_of_many(error):
            half = len(group) // 2
            await self._move(group[:half], pace, board)
            await self._move(group[half:], pace, board)
            return
        if error is not None:
            for job in group:
                board.failed(job.item.upload_id, error)
            return
        after = await self._look(group, board)
        for job in group:
            upload_id = job.item.upload_id
            if upload_id in after and _looks(before[upload_id]) != _looks(after[upload_id]):
                shown = printable(job.item.name)
                board.failed(upload_id, SourceChanged(f"{shown!r} changed while it was read", name=shown))
            elif upload_id in after:
                board.moved([upload_id])

    async def _look(self, group: Sequence[_Job], board: Board) -> dict[str, Sight]:
        """By upload id; those that cannot be read have failed on the board."""
        found = {}
        for upload_id, sight in (await self._hands.do(_look_all, group)).items():
            if isinstance(sight, LibrarianError):
                board.failed(upload_id, sight)
            else:
                found[upload_id] = sight
        return found

    async def _sync(
        self, group: Sequence[_Job], sights: dict[str, Sight], pace: Pace | None, board: Board
    ) -> LibrarianError | None:
        first = group[0]
        alone = first.item.upload_id if len(group) == 1 else ""

        def progress(count: int) -> None:
            if alone:
                board.set_bytes(alone, min(count, first.item.size_bytes))

        try:
            async with self._turn(pace), self._arguments(first, sights, pace) as arguments:
                code, told = await run(arguments, progress)
        except LibrarianError as error:
            return error
        return error_of(code, told, first.item.name if alone else f"{len(group)} files")

    @asynccontextmanager
    async def _arguments(
        self, first: _Job, sights: dict[str, Sight], pace: Pace | None
    ) -> AsyncIterator[list[str]]:
        large = any(entry.size_bytes >= _APPEND_BYTES for one in sights.values() for entry in one.entries)
        options = ["--append"] if large else []
        rate = pace.bytes_per_second if pace else 0
        upload_id = first.item.upload_id
        if first.item.kind is DatasetKind.DIRECTORY:
            place = first.area.child(upload_id)
            yield command([f"{sights[upload_id].location}/"], place, [*options, "--recursive"], rate)
            return
        async with self._renamed(sights) as links:
            yield command(links, first.area, [*options, "--copy-links"], rate)

    @asynccontextmanager
    async def _turn(self, pace: Pace | None) -> AsyncIterator[None]:
        if pace is None:
            yield
            return
        async with self._limited.setdefault(pace, asyncio.Lock()):
            yield

    @asynccontextmanager
    async def _renamed(self, sights: dict[str, Sight]) -> AsyncIterator[list[str]]:
        """Links to the files, named as they shall be at the landing."""
        folder = await self._hands.do(tempfile.TemporaryDirectory, prefix="librarian-rsync-")
        try:
            yield await self._hands.do(_make_links, folder.name, sights)
        finally:
            await asyncio.shield(self._hands.do(folder.cleanup))


def _look_all(group: Iterable[_Job]) -> dict[str, Sight | LibrarianError]:
    """Blocking."""
    lookers: dict[str, Looker] = {}
    found: dict[str, Sight | LibrarianError] = {}
    for job in group:
        try:
            found[job.item.upload_id] = lookers.setdefault(job.item.store, Looker(job.root)).look(job.item)
        except LibrarianError as error:
            found[job.item.upload_id] = error
    return found


def _make_links(folder: str, sights: dict[str, Sight]) -> list[str]:
    """Blocking."""
    links = []
    for upload_id, sight in sights.items():
        link = Path(folder, upload_id)
        link.symlink_to(sight.location)
        links.append(str(link))
    return links


def _looks(sight: Sight) -> list[tuple[str, int, int, int]]:
    return [(entry.path, entry.size_bytes, entry.mtime_ns, entry.inode) for entry in sight.entries]


def _groups(jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """Small files to one area together; the others alone."""
    groups: dict[str, list[_Job]] = {}
    for job in jobs:
        if job.item.kind is DatasetKind.DIRECTORY or job.item.size_bytes > _GROUP_BYTES:
            yield [job]
            continue
        group = groups.setdefault(str(job.area), [])
        group.append(job)
        if len(group) >= _GROUP_ITEMS or sum(one.item.size_bytes for one in group) >= _GROUP_BYTES:
            yield groups.pop(str(job.area))
    yield from groups.values()
