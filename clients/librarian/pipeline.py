"""Threads for bytes: one that hashes beside its feeder, and a bounded pool over many files."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self, TypeVar

from librarian.checksums import Checksum, new_hasher
from librarian.trees import TreeEntry

BUFFER_BYTES = 1 << 20
BUFFER_COUNT = 4
_GROUP_BYTES = 4 << 20  # small files go to a thread in groups: handing one over costs as much as hashing it
_GROUP_FILES = 64

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


def buffers(count: int, size: int) -> list[memoryview]:
    """Page-aligned memory, touched once and used again and again."""
    return [memoryview(mmap.mmap(-1, size)) for _ in range(count)]


class HashingThread:
    """Hashes buffers in a thread of its own, in the order they are given.

    `take` an empty buffer, fill it, `give` it; after the last one ask for `checksum`. Both wait while the
    thread is behind, so memory stays bounded; both raise what `progress` raised.
    """

    def __init__(self, algorithm: str, progress: Callable[[int], None] | None = None) -> None:
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)
        self._progress = progress
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[memoryview | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._whole = {id(view.obj): view for view in buffers(BUFFER_COUNT, BUFFER_BYTES)}
        for view in self._whole.values():
            self._free.put(view)
        self._thread = threading.Thread(target=self._run, name="librarian-hash", daemon=True)

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

    def give(self, view: memoryview, count: int) -> None:
        """The first `count` bytes of a buffer taken before are next."""
        self._full.put(view[:count])

    def checksum(self) -> Checksum:
        """Of everything given. Waits for the thread; nothing can be given after."""
        self._full.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return Checksum(self._algorithm, self._hasher.digest())

    def _run(self) -> None:
        while (view := self._full.get()) is not None:
            if self._error is None:
                try:
                    self._hasher.update(view)
                    if self._progress is not None:
                        self._progress(len(view))
                except BaseException as error:  # noqa: BLE001 - it is the feeder that raises it
                    self._error = error
            self._free.put(self._whole[id(view.obj)])


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
