"""Reads what was sealed: every byte of every file, while the medium takes the same bytes in.

Small files were hashed when they were sealed, streamed ones while they came. The others are spread over
all cores; `fdatasync` of a file runs beside its hashing, so that the sync of the batch finds little left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from librarian.errors import LibrarianError
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.names import printable
from store_svc import claims, sidecars
from store_svc.directories import READ, below, opened
from store_svc.identity import OpenRoot
from store_svc.kit import Threads, together
from store_svc.records import Claims, Fingerprint, Store, Upload, Verified
from store_svc.sealing import SealedTree
from store_svc.taking import SealedEntry, hash_unchanged

_GROUP_BYTES: Final = 64 << 20
_GROUP_FILES: Final = 64
_SYNCED_ALONE_BYTES: Final = 8 << 20

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Sealed:
    """One upload on its way from SEALED to VERIFIED; `error` ends it."""

    upload: Upload
    tree: SealedTree
    error: Exception | None = None

    def unread(self) -> Iterator[SealedEntry]:
        return (
            entry for entry in self.tree.entries if entry.kind is MemberKind.FILE and entry.checksum is None
        )


async def read_all(threads: Threads, root: OpenRoot, batch: Sequence[Sealed], progress: Progress) -> None:
    """Fills in the checksums; what goes wrong with one upload ends that one."""
    groups = list(_groups(batch))
    alone = sum(len(group) for group in groups) == 1
    reader = _Reader(root, threads, progress, alone=alone)
    await together(*(threads.hash(reader.read_group, group) for group in groups))


def finish(root: OpenRoot, store: Store, sealed: Sealed) -> Verified:
    """Compares with the claims and writes the sidecar. Raises ChecksumMismatch and its like, OSError."""
    upload, tree = sealed.upload, sealed.tree
    claimed = upload.claims
    assert claimed is not None
    members = claims.members_of(tree.entries)
    digest = claims.digest_of(upload.kind, upload.algorithm, members)
    claims.check_claims(upload, claimed, digest, members)
    looks = claims.fingerprint(tree.entries)
    _write_sidecar(root, store, upload, claimed, members, looks)
    return Verified(
        upload.upload_id, digest, claimed.size_bytes, len(members), tree.inode_count, tree.inode, looks
    )


def _write_sidecar(
    root: OpenRoot,
    store: Store,
    upload: Upload,
    claimed: Claims,
    members: list[Member],
    looks: Fingerprint,
) -> None:
    sidecars.write_sidecar(
        root.own,
        uid=upload.uid,
        name=upload.name,
        kind=upload.kind,
        store_uid=store.store_uid,
        digest=claimed.digest,
        members=members,
        looks=looks,
        facts_json=claimed.facts_json,
    )


def _groups(batch: Sequence[Sealed]) -> Iterator[list[tuple[Sealed, SealedEntry]]]:
    """Files to read, large ones alone and first, small ones together."""
    files = [(sealed, entry) for sealed in batch for entry in sealed.unread()]
    files.sort(key=lambda file: -file[1].size_bytes)
    group: list[tuple[Sealed, SealedEntry]] = []
    size = 0
    for file in files:
        if group and (size + file[1].size_bytes > _GROUP_BYTES or len(group) == _GROUP_FILES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file[1].size_bytes
    if group:
        yield group


class _Reader:
    def __init__(self, root: OpenRoot, threads: Threads, progress: Progress, *, alone: bool) -> None:
        self._sealed_fd = root.sealed
        self._threads = threads
        self._progress = progress
        self._alone = alone

    def read_group(self, group: Sequence[tuple[Sealed, SealedEntry]]) -> None:
        for sealed, entry in group:
            if sealed.error is None:
                try:
                    self._read(sealed, entry)
                except (LibrarianError, OSError) as error:
                    sealed.error = error

    def _read(self, sealed: Sealed, entry: SealedEntry) -> None:
        upload = sealed.upload
        inside = f"/{entry.path}" if upload.kind is DatasetKind.DIRECTORY else ""
        *folders, last = f"{upload.upload_id}{inside}".split("/")
        with below(self._sealed_fd, folders) as folder, opened(last, at=folder, flags=READ) as fd:
            synced = None
            if entry.size_bytes >= _SYNCED_ALONE_BYTES:
                synced = self._threads.start_io(os.fdatasync, fd)
            try:
                entry.checksum = hash_unchanged(
                    fd,
                    entry,
                    upload.algorithm,
                    printable(entry.path or upload.name),
                    progress=lambda count: self._progress(upload.upload_id, count),
                    alone=self._alone,
                )
            finally:
                if synced is not None:
                    synced()
