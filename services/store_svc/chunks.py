"""One chunk of a stream, and whether it can be what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import google_crc32c

from librarian.errors import ChunkCorrupt, InvalidInput, UploadClosed
from librarian.links import escapes
from librarian.manifests import DatasetKind, MemberKind, link_outside
from librarian.names import check_member_path, printable

MAX_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """As WriteUploadRequest. `mode` 0: not told; `mtime_ns` 0: not told."""

    upload_id: str
    path: str
    kind: MemberKind
    offset: int
    data: bytes
    crc32c: int
    mode: int
    mtime_ns: int
    link_target: str
    last: bool


def check_chunk(kind: DatasetKind, chunk: Chunk) -> None:
    """For an upload of this kind. Raises InvalidInput, InvalidName, LinkOutside, ChunkCorrupt."""
    shown = printable(chunk.path)
    if chunk.path:
        check_member_path(chunk.path)
    if not _fits(kind, chunk):
        raise InvalidInput(
            f"{shown!r} cannot be a member of an upload of a {kind.name.lower()}",
            remedy="a file upload has one member without a path, a directory upload only ones with a path",
            path=shown,
        )
    if len(chunk.data) > MAX_CHUNK_BYTES or chunk.offset < 0:
        raise InvalidInput(f"a chunk of {shown!r} is larger than {MAX_CHUNK_BYTES} bytes, or starts before 0")
    if chunk.kind is MemberKind.SYMLINK and escapes(chunk.path, {chunk.path: chunk.link_target}):
        raise link_outside(chunk.path, chunk.link_target)
    if chunk.data and google_crc32c.value(chunk.data) != chunk.crc32c:
        raise ChunkCorrupt(
            f"a chunk of {shown!r} at offset {chunk.offset} is not what was sent",
            path=shown,
            offset=chunk.offset,
        )


def _fits(kind: DatasetKind, chunk: Chunk) -> bool:
    if kind is DatasetKind.FILE:
        return not chunk.path and chunk.kind is MemberKind.FILE
    # The nameless member of a directory upload is its own folder: how an empty one is made.
    return bool(chunk.path) or chunk.kind is MemberKind.DIRECTORY


def closed(upload_id: str) -> UploadClosed:
    return UploadClosed(
        f"upload {upload_id} takes no more bytes",
        remedy="it was committed, aborted or expired: begin again if its dataset is not there",
        upload_id=upload_id,
    )
