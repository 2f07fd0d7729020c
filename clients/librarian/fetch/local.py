"""Way 1: the store is in sight, so its files are copied (or shared, where the file system can) and hashed.

Blocking, for a thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from librarian.errors import LibrarianError, PathNotFound, SourceChanged, Unreadable
from librarian.fetch.parts import PartFile, Tick, corrupt, finish
from librarian.fetch.target import Target
from librarian.filecopy import copy_and_hash
from librarian.manifests import Member, MemberKind
from librarian.pipeline import spread
from librarian.trees import TreeEntry

MAX_THREADS = 8


class Unseen(Exception):
    """The store is in sight, but not one of its files: another way may reach it."""


def fetch_local(
    root: Path, members: Sequence[Member], target: Target, tick: Tick, *, store: str, name: str, umask: int
) -> dict[str, LibrarianError | Unseen]:
    """Troubles by member path; what is not among them is verified and finished."""
    by_path = {member.path: member for member in members}

    def work(entry: TreeEntry, *, alone: bool) -> tuple[str, LibrarianError | Unseen | None]:
        member = by_path[entry.path]
        try:
            _fetch_one(root, member, target, tick, store=store, name=name, umask=umask, alone=alone)
        except (Unreadable, PathNotFound) as error:
            return entry.path, Unseen(error.message)
        except LibrarianError as error:
            return entry.path, error
        return entry.path, None

    entries = [
        TreeEntry(member.path, MemberKind.FILE, member.size_bytes, "", member.mode, member.mtime_ns, 0, 0)
        for member in members
    ]
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    return {path: error for path, error in spread(entries, work, threads=threads) if error is not None}


def _fetch_one(
    root: Path,
    member: Member,
    target: Target,
    tick: Tick,
    *,
    store: str,
    name: str,
    umask: int,
    alone: bool,
) -> None:
    source = root / member.path if member.path else root
    part = target.part_of(member.path)
    if _finish_earlier(part, member, tick, umask):
        return
    assert member.checksum is not None, "a file has a checksum"
    try:
        result = copy_and_hash(
            source,
            part,
            member.checksum.algorithm,
            progress=tick,
            expected_size=member.size_bytes,
            alone=alone,
        )
        good = result.checksum == member.checksum
    except SourceChanged:
        good = False
    if not good:
        # Nothing of it shall be taken up by a later run.
        os.truncate(part, 0)
        raise corrupt(member, name, store)
    finish(part, member, umask)


def _finish_earlier(part: Path, member: Member, tick: Tick, umask: int) -> bool:
    """Whether an earlier run left all of it."""
    if not part.exists() or part.stat().st_size != member.size_bytes or not member.size_bytes:
        return False
    file = PartFile(part, member, tick)
    try:
        file.ensure_open()
        if not file.is_verified():
            file.start_again()
            return False
        file.finish(umask)
    finally:
        file.close()
    return True
