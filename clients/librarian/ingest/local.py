"""Way 1: the staging area is in sight, so the bytes are copied into it and hashed on the way.

Blocking, for a thread. What an interrupted put has staged completely (same size and mtime: a copy gets
its mtime when it is done) is only hashed again, not copied again.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from librarian.api.store.v1 import store_pb2
from librarian.checksums import Checksum
from librarian.errors import LibrarianError
from librarian.filecopy import copy_and_hash, copy_tree, is_complete_copy
from librarian.fileerrors import reading_error
from librarian.filehash import hash_entry, source_changed
from librarian.ingest.items import Source
from librarian.manifests import MemberKind, tree_digest
from librarian.pipeline import spread
from librarian.trees import TreeEntry

Tick = Callable[[int], None]
# A login node has more cores than a polite guest uses.
MAX_THREADS = 8
_GROUP_ACCESS = 0o060


@dataclass(frozen=True, slots=True)
class Staged:
    """What the client read and stands for; the claims of CommitIngests."""

    digest: Checksum
    size_bytes: int
    member_count: int


@dataclass(frozen=True, slots=True)
class StagingArea:
    """A proven staging directory. `made_mode`: permissions of a file made in it. `open_to_group`: the
    store runs as another user of the directory's group, and our umask would keep it from what we write.
    """

    directory: str
    made_mode: int
    open_to_group: bool


def prove_staging(grant: store_pb2.UploadGrant) -> StagingArea | None:
    """The area, if this is the store's directory and it can be written to; None otherwise."""
    if not grant.staging_path:
        return None
    directory = grant.staging_path
    try:
        found = Path(directory, grant.proof_name).read_bytes()
        if not grant.proof or found != grant.proof:
            return None
        probe = Path(directory, f".{grant.proof_name}.{secrets.token_hex(8)}")
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)
            probe.unlink()
        foreign = Path(directory).stat().st_uid != os.geteuid()
    except OSError:
        return None
    closed = mode & _GROUP_ACCESS != _GROUP_ACCESS
    return StagingArea(directory, made_mode=mode, open_to_group=foreign and closed)


def stage_files(
    area: StagingArea, sources: Sequence[tuple[Source, str]], algorithm: str, *, resume: bool, tick: Tick
) -> list[Staged | LibrarianError]:
    """File sources with their upload ids, by all cores; a verdict each, in order."""
    entries = [source.entry for source, _ in sources]
    ids = {id(entry): upload_id for entry, (_, upload_id) in zip(entries, sources, strict=True)}

    def work(entry: TreeEntry, *, alone: bool) -> Staged | LibrarianError:
        destination = f"{area.directory}/{ids[id(entry)]}"
        try:
            if resume and is_complete_copy(destination, entry):
                checksum = hash_entry(entry.path, entry, algorithm, tick, alone=alone)
            else:
                result = copy_and_hash(
                    entry.path,
                    destination,
                    algorithm,
                    progress=tick,
                    expected_size=entry.size_bytes,
                    alone=alone,
                )
                if result.mtime_ns != entry.mtime_ns:
                    return source_changed(entry.path)
                checksum = result.checksum
            _set_mode(destination, entry.mode, area)
        except LibrarianError as error:
            return error
        except OSError as error:
            return reading_error(error, destination)
        return Staged(checksum, entry.size_bytes, 1)

    return spread([entry for entry in entries if entry is not None], work, threads=thread_count())


def stage_tree(
    area: StagingArea, source: Source, upload_id: str, algorithm: str, *, resume: bool, tick: Tick
) -> Staged:
    """One directory source, by all cores."""
    assert source.tree is not None, "a directory has its tree"
    destination = Path(area.directory, upload_id)
    members = copy_tree(
        source.tree,
        destination,
        algorithm,
        threads=thread_count(),
        progress=tick,
        keep_complete=resume,
    )
    for entry in source.tree.entries:
        if entry.kind is not MemberKind.SYMLINK:
            _set_mode(f"{destination}/{entry.path}", entry.mode, area)
    if area.open_to_group:
        for directory in ("", *source.tree.directories):
            _open_to_group(f"{destination}/{directory}")
    return Staged(tree_digest(algorithm, members), source.size_bytes, len(members))


def thread_count() -> int:
    return min(MAX_THREADS, os.cpu_count() or 1)


def _set_mode(path: str, mode: int, area: StagingArea) -> None:
    """The store records the permissions it finds."""
    wanted = mode & 0o777 | (_GROUP_ACCESS if area.open_to_group else 0)
    if wanted != area.made_mode:
        os.chmod(path, wanted)  # noqa: PTH101 - one for every file staged


def _open_to_group(path: str) -> None:
    """A directory: the store must be able to take it away."""
    mode = os.stat(path).st_mode & 0o7777  # noqa: PTH116
    os.chmod(path, mode | 0o2070)  # noqa: PTH101, S103 - to the staging directory's own group
