"""Staging areas: where clients bring bytes. One area a client, made when needed, removed when empty.

Whatever lies in an area may have been put there by anybody who may write to it, so nothing is followed
and nothing believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from librarian.fileerrors import is_full, no_room
from librarian.manifests import MemberKind
from store_svc import layout
from store_svc.directories import CREATE, READ, below, lstat, names_in, opened
from store_svc.filesystem import FileSystem
from store_svc.identity import OpenRoot
from store_svc.looking import walk_dataset
from store_svc.owners import resolve_owner
from store_svc.records import Store

_PROOF_MODE: Final = 0o440


@dataclass(frozen=True, slots=True)
class StagedEntry:
    """`complete`: all of it is there as far as the store can tell."""

    path: str
    persisted_bytes: int
    complete: bool


def prepare_area(filesystem: FileSystem, root: OpenRoot, store: Store, area: str, proof: bytes) -> None:
    """Made with its proof file where it is missing. Raises StoreFull, OSError."""
    try:
        with opened(layout.STAGING, at=root.own) as staging:
            if lstat(area, at=staging) is None:
                _make_area(filesystem, staging, store, area)
            with opened(area, at=staging) as fd:
                _write_proof(fd, proof)
    except OSError as error:
        if is_full(error):
            raise no_room(error, area) from error
        raise


def _make_area(filesystem: FileSystem, staging: int, store: Store, area: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(area, 0o700, dir_fd=staging)
    owner = resolve_owner(store.owner)
    if owner is not None:
        # The group is what clients write through; the user stays, who has to take the bytes over.
        filesystem.give(area, (-1, owner[1]), at=staging)
    # After the group: changing that takes the setgid bit away.
    os.chmod(area, store.staging_mode, dir_fd=staging)


def _write_proof(area: int, proof: bytes) -> None:
    with suppress(OSError), opened(layout.PROOF, at=area, flags=READ) as fd:
        if os.read(fd, len(proof) + 1) == proof:
            return
    with suppress(FileNotFoundError):
        os.unlink(layout.PROOF, dir_fd=area)
    fd = os.open(layout.PROOF, CREATE, _PROOF_MODE, dir_fd=area)
    try:
        os.write(fd, proof)
        os.fchmod(fd, _PROOF_MODE)
    finally:
        os.close(fd)


def remove_areas(root: OpenRoot, areas: Iterable[str]) -> None:
    """Those with nothing in them but the proof. The caller knows that nobody may write to them any more."""
    with opened(layout.STAGING, at=root.own) as staging:
        for area in areas:
            with suppress(OSError):  # something is left: recovery looks at it when it is old enough
                with opened(area, at=staging) as fd:
                    if names_in(fd) == [layout.PROOF]:
                        os.unlink(layout.PROOF, dir_fd=fd)
                os.rmdir(area, dir_fd=staging)


def list_areas(root: OpenRoot) -> list[str]:
    with opened(layout.STAGING, at=root.own) as staging:
        return names_in(staging)


def staged_in(root: OpenRoot, area: str) -> list[tuple[str, float]]:
    """Entries of an area, the proof left out, and when each last changed (seconds since 1970)."""
    with suppress(FileNotFoundError, NotADirectoryError), below(root.own, (layout.STAGING, area)) as fd:
        return [
            (name, status.st_ctime)
            for name in names_in(fd)
            if name != layout.PROOF and (status := lstat(name, at=fd)) is not None
        ]
    return []


def staged_entries(root: OpenRoot, area: str, upload_id: str, after: str) -> Iterator[StagedEntry]:
    """Files, links and empty directories of one upload with a path after `after`, in path order."""
    with suppress(FileNotFoundError, NotADirectoryError), below(root.own, (layout.STAGING, area)) as fd:
        for entry in walk_dataset(fd, upload_id, after=after):
            regular = entry.kind is MemberKind.FILE
            yield StagedEntry(entry.path, max(entry.size_bytes, 0), not (regular and entry.incomplete))


@dataclass(frozen=True, slots=True)
class StagedSum:
    """`latest`: when anything of it last changed, seconds since 1970; 0.0 where nothing is there."""

    size_bytes: int = 0
    latest: float = 0.0


def measure(root: OpenRoot, area: str, upload_id: str) -> StagedSum:
    """How much of an upload is on the file system, and how fresh. Holes are no bytes."""
    size, latest = 0, 0.0
    found: list[list[str]] = [[upload_id]]
    with suppress(FileNotFoundError, NotADirectoryError), below(root.own, (layout.STAGING, area)) as top:
        for parts in found:
            with suppress(FileNotFoundError, NotADirectoryError), below(top, parts[:-1]) as above:
                status = lstat(parts[-1], at=above)
                if status is None:
                    continue
                latest = max(latest, status.st_ctime)
                if not stat.S_ISDIR(status.st_mode):
                    size += _taken(status)
                    continue
                with opened(parts[-1], at=above) as fd, os.scandir(fd) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            found.append([*parts, entry.name])
                            continue
                        status = entry.stat(follow_symlinks=False)
                        size += _taken(status)
                        latest = max(latest, status.st_ctime)
    return StagedSum(size, latest)


def _taken(status: os.stat_result) -> int:
    return min(status.st_size, status.st_blocks * 512)
