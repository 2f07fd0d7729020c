"""Bytes of a dataset on a store that this process does not see: as its service reads them out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

import google_crc32c

from librarian.api.store.v1 import store_pb2
from librarian.connection.patience import PASSING
from librarian.errors import (
    ChunkCorrupt,
    LibrarianError,
    MemberNotFound,
    OutOfRange,
    ReplicaNotFound,
    SourceChanged,
    SourceVanished,
)
from librarian.fetch.ways import at_most
from librarian.ingest.frames import frame
from librarian.manifests import MemberKind
from librarian.names import printable
from librarian.trees import TreeEntry
from transfer_svc.movers.board import Board
from transfer_svc.movers.streamfiles import StreamFile, StreamJob, frames_without_bytes, header_of

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub


async def ask_members(store: StoreServiceAsyncStub, job: StreamJob) -> None:
    """The files of a job by the recorded manifest. Raises SourceVanished and what the store raises."""
    request = store_pb2.ReadManifestRequest(store=job.item.store, uid=job.item.uid)
    entries: list[TreeEntry] = []
    try:
        async for answer in store.ReadManifest(request):
            entries += [
                TreeEntry(
                    member.path,
                    MemberKind(member.kind),
                    member.size_bytes,
                    member.link_target,
                    member.mode,
                    member.mtime_ns,
                    0,
                    0,
                )
                for member in answer.members
            ]
    except ReplicaNotFound as error:
        raise SourceVanished(error.message, **error.metadata) from error
    job.found(entries)


async def served_frames(
    store: StoreServiceAsyncStub, job: StreamJob, board: Board
) -> AsyncGenerator[list[bytes], None]:
    """What the receiver has not got. A job that cannot be read is left with its error; Unavailable and
    ChunkCorrupt are raised: they may pass.
    """
    if some := list(frames_without_bytes(job)):
        yield some
    try:
        grant = await store.BeginRead(store_pb2.BeginReadRequest(store=job.item.store, uid=job.item.uid))
        metadata = (("librarian-ticket", grant.grant.ticket),)
        wanted = [file for file in job.files if file.entry.kind is MemberKind.FILE and not file.complete]
        for files in at_most(wanted):
            request = store_pb2.ReadDatasetRequest(uid=job.item.uid, ranges=_ranges(files))
            async with aclosing(aiter(store.ReadDataset(request, metadata=metadata))) as answers:  # type: ignore[type-var]
                async for piece in answers:
                    yield [_frame(job, files[piece.range], piece)]
                    board.add_bytes(job.item.upload_id, len(piece.data))
    except (ReplicaNotFound, MemberNotFound) as error:
        job.error = SourceVanished(error.message, **error.metadata)
    except OutOfRange as error:
        job.error = SourceChanged(error.message, **error.metadata)
    except LibrarianError as error:
        if isinstance(error, PASSING):
            raise
        job.error = error


def _ranges(files: Iterable[StreamFile]) -> list[store_pb2.ReadRange]:
    return [store_pb2.ReadRange(path=file.entry.path, offset=file.persisted) for file in files]


def _frame(job: StreamJob, file: StreamFile, piece: store_pb2.ReadDatasetResponse) -> bytes:
    entry = file.entry
    if google_crc32c.value(piece.data) != piece.crc32c:
        raise ChunkCorrupt(f"a chunk of {printable(entry.path)!r} was damaged on the way out of the store")
    if piece.last and piece.offset + len(piece.data) != entry.size_bytes:
        shown = printable(entry.path or job.item.name)
        raise SourceChanged(f"{shown!r} is not as long as it was", path=shown)
    return frame(header_of(job, file, offset=piece.offset, last=piece.last), piece.data)
