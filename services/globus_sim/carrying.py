"""One task on its way: files found, copied one by one, tried again where one is at fault, to its end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from globus_sim.copying import Wanted, copy, rot
from globus_sim.errors import Fault
from globus_sim.model import FAILED, OK, SUCCEEDED, Collection, Event, FaultScript, File, Task
from globus_sim.places import fault_of, place_of, walk
from globus_sim.world import World

_EXTENSION = 3 * 86_400.0
_LOOK_SECONDS = 0.05
_SAVE_SECONDS = 0.5
_MOST_EVENTS = 1000
_FAULTS_OF_FILES = {
    "file_not_found": "FILE_NOT_FOUND",
    "permission_denied": "PERMISSION_DENIED",
    "no_space_left": "NO_SPACE_LEFT",
    "quota_exceeded": "QUOTA_EXCEEDED",
}
_OF_SOURCES = frozenset({"FILE_NOT_FOUND", "PERMISSION_DENIED"})
T = TypeVar("T")


class _Over(Exception):
    """The task has its end."""


@dataclass(slots=True)
class Pace:
    """`bandwidth`: bytes/s of all tasks together; 0: no limit. `retry`: seconds between tries."""

    bandwidth: float
    retry: float
    _free: float = 0.0

    async def take(self, count: int) -> None:
        if self.bandwidth <= 0:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now) + count / self.bandwidth
        await asyncio.sleep(self._free - now)


def end(task: Task, status: str, code: str, description: str, *, now: float) -> None:
    """SUCCEEDED, or FAILED by `code`."""
    if status == FAILED:
        task.fatal_code, task.fatal_description = code, description
    task.status, task.completion_time = status, now
    task.nice_status = task.nice_details = None
    task.paused = ""
    note(task, code, description, "", now=now, is_error=status == FAILED)


def note(
    task: Task, code: str, description: str, details: str, *, now: float, is_error: bool = False
) -> None:
    task.events.append(Event(code, description, details, is_error, now))
    del task.events[:-_MOST_EVENTS]


class Carrier:
    def __init__(self, world: World, pace: Pace, threads: ThreadPoolExecutor) -> None:
        self._world = world
        self._pace = pace
        self._threads = threads

    async def carry(self, task: Task) -> None:
        """To its end, which is on disk when this returns."""
        now = self._world.clock.now
        try:
            if not task.events:
                note(task, "STARTED", "started", "", now=now())
            task.nice_status, task.nice_details = OK, None
            await self._world.save(task)
            if task.kind == "DELETE":
                await self._delete(task)
            else:
                await self._transfer(task)
            end(task, SUCCEEDED, "SUCCEEDED", "succeeded", now=now())
        except _Over:
            pass
        await self._world.save(task)

    async def _transfer(self, task: Task) -> None:
        """What cannot be found or copied never stops the others: they are tried, and it is tried again."""
        saved = 0.0
        while True:
            finished = await self._find_files(task)
            for file in [each for each in task.files if each.state == "pending"]:
                await self._stand(task)
                finished += await self._try(task, file)
                if (now := asyncio.get_running_loop().time()) - saved > _SAVE_SECONDS:
                    saved = now
                    await self._world.save(task)
            if len(task.found) == len(task.items) and not task.count("pending"):
                return
            if not finished:
                await self._wait(task)

    async def _find_files(self, task: Task) -> int:
        """Of items that were not found yet; how many were, now."""
        finished = 0
        for number, item in enumerate(task.items):
            if number in task.found:
                continue
            await self._stand(task)
            try:
                await self._meet(task, "")
                files, directories = await self._blocking(self._list, task, item)
            except Fault as fault:
                await self._at_fault(task, fault)
                continue
            task.files += files
            task.directories += directories
            task.found.append(number)
            finished += 1
        return finished

    async def _try(self, task: Task, file: File) -> bool:
        """Whether it is done with."""
        try:
            await self._copy(task, file)
        except Fault as fault:
            if task.options.get("skip_source_errors") and fault.code in _OF_SOURCES:
                file.state, file.error = "skipped", fault.code
                return True
            await self._at_fault(task, fault)
            return False
        task.nice_status, task.nice_details = OK, None
        if not task.explicit_deadline:
            task.deadline = self._world.clock.now() + _EXTENSION
        return True

    async def _copy(self, task: Task, file: File) -> None:
        await self._meet(task, file.source)
        source, destination = self._world.collection(task.source), self._world.collection(task.destination)
        if not destination.writable:
            raise Fault("PERMISSION_DENIED", f"Path not allowed: {file.destination}")
        wanted = Wanted(
            place_of(source, file.source),
            place_of(destination, file.destination),
            file.source,
            bool(task.options.get("verify_checksum", True)),
            bool(task.options.get("preserve_timestamp", False)),
            file.external_checksum,
            file.algorithm,
        )
        steps = copy(wanted)
        copied = 0
        while (count := await self._blocking(_next, steps)) is not None:
            copied += count
            task.bytes_transferred += count
            await self._pace.take(count)
            await self._stand(task)
        if await self._world.meets("checksum_mismatch", collection_id=task.destination, path=file.source):
            raise Fault("CHECKSUM_MISMATCH", f"{file.source} did not arrive as it was read")
        if wanted.verify:
            task.bytes_checksummed += copied
        if await self._world.meets("byte_rot", collection_id=task.destination, path=file.source):
            await self._blocking(rot, wanted.destination)
        file.state, file.size = "done", copied

    async def _meet(self, task: Task, path: str) -> None:
        """Raises whatever was told to go wrong here."""
        for collection_id in (task.source, task.destination):
            if await self._world.meets("endpoint_down", collection_id=collection_id):
                raise Fault("CONNECT_FAILED", "the endpoint does not answer")
            for kind, code in _FAULTS_OF_FILES.items():
                if path and await self._world.meets(kind, collection_id=collection_id, path=path):
                    fatal = code == "QUOTA_EXCEEDED" and bool(task.options.get("fail_on_quota_errors"))
                    raise Fault(code, f"{path}: {code.lower().replace('_', ' ')}", fatal=fatal)

    async def _stand(self, task: Task) -> None:
        """Returns when the task may go on. Raises _Over."""
        while True:
            if task.asked_to_stop:
                self._fail(
                    task, "CANCELED", "canceled by the user" if not task.canceled_by_admin else "canceled"
                )
            if self._world.clock.now() >= task.deadline:
                self._fail(task, "EXPIRED", "its deadline is over")
            held = self._pause_of(task)
            if held is None and not task.paused:
                return
            if held is None:
                task.paused, task.nice_status, task.nice_details = "", OK, None
                await self._world.save(task)
                return
            if not task.paused:
                task.paused = held.message or "paused by the collection's administrator"
                task.nice_status, task.nice_details = "PAUSED", task.paused
                self._note(task, "PAUSED", "paused", task.paused, is_error=False)
                await self._world.save(task)
            await asyncio.sleep(_LOOK_SECONDS)

    def _pause_of(self, task: Task) -> FaultScript | None:
        now = self._world.clock.now()
        for fault in self._world.faults.values():
            here = fault.collection_id in ("", task.source, task.destination)
            if fault.kind == "pause" and here and not (fault.until and now >= fault.until):
                return fault
        return None

    async def _at_fault(self, task: Task, fault: Fault) -> None:
        task.faults += 1
        task.nice_status, task.nice_details = fault.code, fault.details
        self._note(task, fault.code, fault.code.lower().replace("_", " "), fault.details, is_error=True)
        if fault.fatal:
            self._fail(task, fault.code, fault.details)
        await self._world.save(task)

    async def _wait(self, task: Task) -> None:
        """Until the next try."""
        until = asyncio.get_running_loop().time() + self._pace.retry
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await self._stand(task)
            await asyncio.sleep(min(left, _LOOK_SECONDS))
        await self._stand(task)

    def _fail(self, task: Task, code: str, description: str) -> None:
        end(task, FAILED, code, description, now=self._world.clock.now())
        raise _Over

    def _note(self, task: Task, code: str, description: str, details: str, *, is_error: bool = False) -> None:
        note(task, code, description, details, now=self._world.clock.now(), is_error=is_error)

    def _list(self, task: Task, item: dict[str, object]) -> tuple[list[File], int]:
        """Blocking. All files of an item, and how many directories; makes the directories. Raises Fault."""
        source, destination = self._world.collection(task.source), self._world.collection(task.destination)
        came, goes = str(item["source_path"]), str(item["destination_path"])
        if not item.get("recursive"):
            return [_file(item, source, came, goes)], 0
        files: list[File] = []
        directories = 0
        for inner, size in walk(source, came):
            below = f"{goes.rstrip('/')}/{inner}" if inner else goes
            if size is None:
                directories += 1
                _make(destination, below)
            else:
                files.append(File(f"{came.rstrip('/')}/{inner}", below, size))
        return files, directories

    async def _delete(self, task: Task) -> None:
        """What is not there fails it at once."""
        collection = self._world.collection(task.source)
        recursive = bool(task.options.get("recursive"))
        for item in task.items:
            await self._stand(task)
            try:
                await self._blocking(partial(_remove, collection, str(item["path"]), recursive=recursive))
            except Fault as fault:
                if fault.code != "FILE_NOT_FOUND" or not task.options.get("ignore_missing"):
                    self._fail(task, fault.code, fault.details)

    async def _blocking(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *arguments))


def _next(steps: Iterator[int]) -> int | None:
    return next(steps, None)


def _file(item: dict[str, object], source: Collection, came: str, goes: str) -> File:
    place = place_of(source, came)
    try:
        size = place.stat().st_size
    except FileNotFoundError:
        # It may come yet: what is missing is told when it is copied.
        size = 0
    except OSError as error:
        raise fault_of(error, came) from error
    checksum, algorithm = str(item.get("external_checksum") or ""), str(item.get("checksum_algorithm") or "")
    return File(came, goes, size, external_checksum=checksum, algorithm=algorithm)


def _make(collection: Collection, path: str) -> None:
    try:
        place_of(collection, path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fault_of(error, path) from error


def _remove(collection: Collection, path: str, *, recursive: bool) -> None:
    place = place_of(collection, path)
    try:
        if place.is_dir() and not place.is_symlink():
            if not recursive:
                raise Fault("IS_A_DIRECTORY", f"{path} is a directory")
            shutil.rmtree(place)
        else:
            place.unlink()
    except OSError as error:
        raise fault_of(error, path) from error
