"""Threads for bytes: one that works beside its feeder, and a bounded pool over many files."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self, TypeVar

from librarian.trees import TreeEntry

# Large enough that handing a buffer over costs nothing beside hashing it, and four of them fit the cache
# that two cores share.
BUFFER_BYTES = 2 << 20
BUFFER_COUNT = 4
_GROUP_BYTES = 4 << 20  # small files go to a thread in groups: handing one over costs as much as hashing it
_GROUP_FILES = 64

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


def buffer(size: int = BUFFER_BYTES) -> memoryview:
    """Page-aligned memory to read into again and again."""
    return memoryview(mmap.mmap(-1, size))


class Beside:
    """Does `action` to buffers in a thread of its own, in the order they are given.

    `take` an empty buffer, fill it, `give` its filled part with its offset; after the last one `finish`.
    `take` waits while the thread is behind, so memory stays bounded. What `action` raises comes out of
    `take` or `finish`, and nothing more is done. Leaving the block waits for the thread.
    """

    def __init__(self, action: Callable[[memoryview, int], object]) -> None:
        self._action = action
        self._error: BaseException | None = None
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, int, int] | None] = SimpleQueue()
        for _ in range(BUFFER_COUNT):
            self._free.put(buffer())
        self._thread = threading.Thread(target=self._run, name="librarian-bytes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._full.put(None)
        self._thread.join()

    def take(self) -> memoryview:
        """An empty buffer of BUFFER_BYTES."""
        view = self._free.get()
        if self._error is not None:
            raise self._error
        return view

    def give(self, view: memoryview, count: int, offset: int) -> None:
        """The first `count` bytes of a buffer taken before; they stand at `offset` of their file."""
        self._full.put((view, count, offset))

    def finish(self) -> None:
        """Waits until everything given is done."""
        self._full.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (given := self._full.get()) is not None:
            view, count, offset = given
            if self._error is None:
                try:
                    self._action(view[:count], offset)
                except BaseException as error:  # noqa: BLE001 - the feeder raises it
                    self._error = error
            self._free.put(view)


class FileWork(Protocol[Result_co]):
    """What is done to one file. `alone`: no other file keeps the other cores busy."""

    def __call__(self, entry: TreeEntry, *, alone: bool) -> Result_co: ...


def spread(files: Sequence[TreeEntry], work: FileWork[Result], *, threads: int | None = None) -> list[Result]:
    """The work's results, in the order of the files; large files start first, so that no thread ends up
    with the largest one when the others are done. The first error stops what has not begun.
    """
    count = min(threads or os.cpu_count() or 1, len(files))
    groups = _groups(files)
    if count <= 1 or len(groups) == 1:
        return [work(entry, alone=True) for entry in files]
    results: dict[int, Result] = {}
    stop = threading.Event()

    def run(group: list[int]) -> None:
        for index in group:
            if stop.is_set():
                return
            try:
                results[index] = work(files[index], alone=False)
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(count, thread_name_prefix="librarian-files") as pool:
        pending = [pool.submit(run, group) for group in groups]
    for done in pending:
        done.result()
    return [results[index] for index in range(len(files))]


def _groups(files: Sequence[TreeEntry]) -> list[list[int]]:
    """Indices by falling size, small files together."""
    by_size = sorted(range(len(files)), key=lambda index: -files[index].size_bytes)
    groups: list[list[int]] = []
    room, slots = 0, 0
    for index in by_size:
        size = files[index].size_bytes
        if size > room or not slots:
            groups.append([])
            room, slots = _GROUP_BYTES, _GROUP_FILES
        groups[-1].append(index)
        room -= size
        slots -= 1
    return groups
