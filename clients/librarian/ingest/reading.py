"""Files of uploads, read and hashed once, as framed messages. Blocking, for a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.checksums import Checksum, Hasher, new_hasher
from librarian.errors import LibrarianError
from librarian.fileerrors import reading_error
from librarian.filehash import source_changed
from librarian.ingest.frames import CHUNK_BYTES, frame
from librarian.ingest.items import Source
from librarian.ingest.local import Staged, Tick
from librarian.manifests import DatasetKind, Member, MemberKind, tree_digest
from librarian.trees import TreeEntry

# What is handed to the event loop at once: a megabyte, or so many small messages.
GROUP_MESSAGES = 256


@dataclass(slots=True)
class UploadFile:
    """One entry of an upload. `persisted` bytes are on the store, `complete` with their last message;
    `checksum` is known once the whole source was read. `counted` bytes were told as progress.
    """

    upload_id: str
    path: str
    location: str
    entry: TreeEntry
    persisted: int = 0
    complete: bool = False
    checksum: Checksum | None = None
    counted: int = 0


@dataclass(slots=True)
class UploadJob:
    """One upload: its files in order, and what became of it where it cannot go on."""

    upload_id: str
    source: Source
    files: list[UploadFile] = field(default_factory=list)
    error: LibrarianError | None = None

    @classmethod
    def of(cls, source: Source, upload_id: str) -> UploadJob:
        job = cls(upload_id, source)
        if source.entry is not None:
            job.files.append(UploadFile(upload_id, "", source.entry.path, source.entry))
        elif source.tree is not None:
            root = os.fspath(source.tree.root)
            job.files += [
                UploadFile(upload_id, entry.path, f"{root}/{entry.path}", entry)
                for entry in source.tree.entries
            ]
        return job

    def staged(self, algorithm: str) -> Staged:
        """The claims, once everything was read."""
        if self.source.kind is DatasetKind.FILE:
            digest = self.files[0].checksum
        else:
            members = [
                Member(
                    file.path,
                    file.entry.kind,
                    file.entry.size_bytes,
                    file.checksum,
                    file.entry.link_target,
                    file.entry.mode,
                    file.entry.mtime_ns,
                )
                for file in self.files
            ]
            digest = tree_digest(algorithm, members)
        assert digest is not None, "everything was read"
        return Staged(digest, self.source.size_bytes, len(self.files) if self.source.tree else 1)


class Reader:
    """Reads jobs and yields groups of framed messages: only what the store has not got."""

    def __init__(self, jobs: Sequence[UploadJob], algorithm: str, tick: Tick) -> None:
        self._jobs = jobs
        self._algorithm = algorithm
        self._tick = tick

    def groups(self, stop: threading.Event) -> Iterator[list[bytes]]:
        group: list[bytes] = []
        size = 0
        for message in self._messages(stop):
            group.append(message)
            size += len(message)
            if size >= CHUNK_BYTES or len(group) >= GROUP_MESSAGES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _messages(self, stop: threading.Event) -> Iterator[bytes]:
        for job in self._jobs:
            try:
                if not job.files and not job.error:
                    yield _empty_tree(job.upload_id)
                for file in job.files:
                    if stop.is_set() or job.error is not None:
                        break
                    if not (file.complete and (file.checksum or file.entry.kind is not MemberKind.FILE)):
                        yield from self._file(file, stop)
            except LibrarianError as error:
                # One unreadable source never stops the others.
                job.error = error

    def _file(self, file: UploadFile, stop: threading.Event) -> Iterator[bytes]:
        entry = file.entry
        if entry.kind is not MemberKind.FILE:
            yield frame(_header(file, offset=0, last=True), b"")
            return
        try:
            descriptor = os.open(file.location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise reading_error(error, file.location) from error
        try:
            yield from self._chunks(descriptor, file, stop)
        except OSError as error:
            raise reading_error(error, file.location) from error
        finally:
            os.close(descriptor)

    def _chunks(self, descriptor: int, file: UploadFile, stop: threading.Event) -> Iterator[bytes]:
        entry = file.entry
        _check_same(os.fstat(descriptor), file)
        hasher = new_hasher(self._algorithm)
        if file.persisted > entry.size_bytes:
            raise source_changed(file.location)
        offset = self._skip(descriptor, hasher, file, stop)
        while not stop.is_set():
            data = os.pread(descriptor, min(CHUNK_BYTES, entry.size_bytes - offset), offset)
            hasher.update(data)
            end = offset + len(data)
            last = end == entry.size_bytes
            if not data and not last:
                raise source_changed(file.location)
            if last:
                _check_same(os.fstat(descriptor), file)
                file.checksum = Checksum(self._algorithm, hasher.digest())
            if not file.complete:
                yield frame(_header(file, offset=offset, last=last), data)
            self._count(file, end)
            if last:
                return
            offset = end

    def _skip(self, descriptor: int, hasher: Hasher, file: UploadFile, stop: threading.Event) -> int:
        """Hashes what the store has, so that the digest is of the whole; where to go on."""
        offset = 0
        while offset < file.persisted and not stop.is_set():
            data = os.pread(descriptor, min(CHUNK_BYTES, file.persisted - offset), offset)
            if not data:
                raise source_changed(file.location)
            hasher.update(data)
            offset += len(data)
            self._count(file, offset)
        return offset

    def _count(self, file: UploadFile, end: int) -> None:
        if end > file.counted:
            self._tick(end - file.counted)
            file.counted = end


def _header(file: UploadFile, *, offset: int, last: bool) -> store_pb2.WriteUploadRequest:
    entry = file.entry
    return store_pb2.WriteUploadRequest(
        upload_id=file.upload_id,
        path=file.path,
        kind=common_pb2.MemberKind.ValueType(entry.kind),
        offset=offset,
        mode=entry.mode,
        mtime_ns=entry.mtime_ns,
        link_target=entry.link_target,
        last=last,
    )


def _empty_tree(upload_id: str) -> bytes:
    """A directory with nothing in it is told by its own, empty path."""
    return store_pb2.WriteUploadRequest(
        upload_id=upload_id, kind=common_pb2.MEMBER_KIND_DIRECTORY, last=True
    ).SerializeToString()


def _check_same(status: os.stat_result, file: UploadFile) -> None:
    entry = file.entry
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (
        entry.size_bytes,
        entry.mtime_ns,
        entry.inode,
    ):
        raise source_changed(file.location)
