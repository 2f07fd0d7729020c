"""One dataset on its way as messages of WriteUpload: what the receiver has of it, and the rest as frames."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError
from librarian.fileerrors import reading_error
from librarian.ingest.frames import frame
from librarian.manifests import DatasetKind, MemberKind
from librarian.trees import TreeEntry
from transfer_svc.movers.base import Item
from transfer_svc.movers.board import Board
from transfer_svc.movers.sources import Looker, Root, Sight, check_same

# What a break in the middle of a message costs is sent twice; a message costs about as much as 50 kB.
CHUNK_BYTES: Final = 256 << 10
# What goes from a thread to the event loop at once.
_GROUP_BYTES: Final = 1 << 20
_GROUP_MESSAGES: Final = 256


@dataclass(slots=True)
class StreamFile:
    """`persisted` bytes are at the receiver's store, `complete` with their last message."""

    entry: TreeEntry
    persisted: int = 0
    complete: bool = False


@dataclass(slots=True)
class StreamJob:
    """`root`: None where this process does not see the bytes. `files` are known once it was `looked` at;
    `taken`: the receiver is at work on it already; `error`: why it cannot go on.
    """

    item: Item
    root: Root | None
    sight: Sight | None = None
    files: list[StreamFile] = field(default_factory=list)
    looked: bool = False
    taken: bool = False
    error: LibrarianError | None = None

    def found(self, entries: Iterable[TreeEntry]) -> None:
        self.files = [StreamFile(entry) for entry in entries]
        self.looked = True

    def is_there(self, files: Iterable[store_pb2.UploadedFile]) -> None:
        """Takes over what GetUpload told."""
        there = {file.path: file for file in files}
        for file in self.files:
            found = there.get(file.entry.path)
            size = file.entry.size_bytes
            # More than there should be is another attempt's: from the start again.
            persisted = found.persisted_bytes if found is not None else 0
            file.persisted = persisted if persisted <= size else 0
            file.complete = found is not None and found.complete and persisted == size

    @property
    def persisted_bytes(self) -> int:
        return sum(file.persisted for file in self.files)


def look_all(jobs: Sequence[StreamJob]) -> None:
    """Blocking. Those in sight."""
    lookers: dict[str, Looker] = {}
    for job in jobs:
        if job.root is None:
            continue
        try:
            job.sight = lookers.setdefault(job.item.store, Looker(job.root)).look(job.item)
            job.found(job.sight.entries)
        except LibrarianError as error:
            job.error = error


def frames_of(jobs: Sequence[StreamJob], board: Board) -> Generator[list[bytes], None, None]:
    """Blocking. What the receiver has not got, in groups. A job that cannot be read is left with its error,
    and the others go on. Raises Stopped.
    """
    group: list[bytes] = []
    size = 0
    for job in jobs:
        for message in _frames_of_one(job, board):
            group.append(message)
            size += len(message)
            if size >= _GROUP_BYTES or len(group) >= _GROUP_MESSAGES:
                yield group
                group, size = [], 0
    if group:
        yield group


def _frames_of_one(job: StreamJob, board: Board) -> Iterator[bytes]:
    try:
        yield from frames_without_bytes(job)
        for file in job.files:
            if file.entry.kind is MemberKind.FILE and not file.complete:
                yield from _file(job, file, board)
    except LibrarianError as error:
        assert job.root is not None, "its bytes are in sight"
        job.error = Looker(job.root).told(error)


def frames_without_bytes(job: StreamJob) -> Iterator[bytes]:
    """Empty directories and links. One with nothing in it at all is told by its own, empty path."""
    if job.item.kind is DatasetKind.DIRECTORY and not job.files:
        header = store_pb2.WriteUploadRequest(
            upload_id=job.item.upload_id, kind=common_pb2.MEMBER_KIND_DIRECTORY, last=True
        )
        yield header.SerializeToString()
    for file in job.files:
        if file.entry.kind is not MemberKind.FILE and not file.complete:
            yield header_of(job, file, offset=0, last=True).SerializeToString()


def header_of(job: StreamJob, file: StreamFile, *, offset: int, last: bool) -> store_pb2.WriteUploadRequest:
    entry = file.entry
    return store_pb2.WriteUploadRequest(
        upload_id=job.item.upload_id,
        path=entry.path,
        kind=common_pb2.MemberKind.ValueType(entry.kind),
        offset=offset,
        mode=entry.mode,
        mtime_ns=entry.mtime_ns,
        link_target=entry.link_target,
        last=last,
    )


def _file(job: StreamJob, file: StreamFile, board: Board) -> Iterator[bytes]:
    assert job.sight is not None, "it was looked at"
    location, entry = job.sight.location_of(file.entry), file.entry
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise reading_error(error, location) from error
    try:
        check_same(os.fstat(descriptor), entry, location)
        offset = file.persisted
        while True:
            data = os.pread(descriptor, min(CHUNK_BYTES, entry.size_bytes - offset), offset)
            end = offset + len(data)
            last = end == entry.size_bytes
            if last or not data:
                check_same(os.fstat(descriptor), entry, location)
            yield frame(header_of(job, file, offset=offset, last=last), data)
            board.add_bytes(job.item.upload_id, len(data))
            if last:
                return
            offset = end
    except OSError as error:
        raise reading_error(error, location) from error
    finally:
        os.close(descriptor)
