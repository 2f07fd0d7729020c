"""Where a dataset goes, with the manners of `cp -r`, and what lies there already. Blocking, for a thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from librarian.checksums import Checksum
from librarian.errors import DestinationExists, LibrarianError, PathNotFound
from librarian.filehash import hash_file
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.names import printable

# Enough of a uid (its random end) to tell one dataset's parts from another's.
_UID_DIGITS = 12
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Target:
    """`final` is what appears at the end; `part` is where bytes gather until then, the same for every try
    of the same dataset at the same place.
    """

    kind: DatasetKind
    final: Path
    part: Path

    def final_of(self, path: str) -> Path:
        return self.final / path if path else self.final

    def part_of(self, path: str) -> Path:
        return self.part / path if path else self.part


def resolve_target(kind: DatasetKind, name: str, uid: str, destination: str) -> Target:
    """Raises PATH_NOT_FOUND where the directory to write into is not there, DESTINATION_EXISTS where
    something of another kind is in the way.
    """
    given = Path(destination)
    wants_directory = destination.endswith("/")
    if given.is_dir():
        final = given / name.rpartition("/")[2]
    elif wants_directory and kind is DatasetKind.FILE:
        raise _no_directory(given)
    else:
        final = given
    if not final.parent.is_dir():
        raise _no_directory(final.parent)
    if kind is DatasetKind.DIRECTORY and os.path.lexists(final) and not final.is_dir():
        raise _in_the_way(final, "is not a directory")
    if kind is DatasetKind.FILE and final.is_dir():
        raise _in_the_way(final, "is a directory")
    suffix = f".{uid.replace('-', '')[-_UID_DIGITS:]}.part"
    stem = os.fsencode(final.name)[: _MAX_NAME_BYTES - len(suffix)]
    return Target(kind, final, final.with_name(os.fsdecode(stem) + suffix))


def already_there(target: Target, members: Sequence[Member], *, force: bool) -> set[str]:
    """Paths of members that need not be fetched: the same content lies at their final place.

    Raises DESTINATION_EXISTS for the first that has other content, unless `force`.
    """
    if not os.path.lexists(target.final):
        return set()
    there = set()
    for member in members:
        final = target.final_of(member.path)
        if not os.path.lexists(final):
            continue
        if is_same(final, member):
            there.add(member.path)
        elif not force:
            raise _in_the_way(final, "exists with other content")
        elif final.is_dir() and not final.is_symlink():
            raise _in_the_way(final, "is a directory")
    return there


def is_same(path: Path, member: Member) -> bool:
    if path.is_symlink():
        return member.kind is MemberKind.SYMLINK and str(path.readlink()) == member.link_target
    if path.is_dir():
        return member.kind is MemberKind.DIRECTORY
    if member.kind is not MemberKind.FILE or path.stat().st_size != member.size_bytes:
        return False
    assert member.checksum is not None, "a file has a checksum"
    return _checksum(path, member.checksum.algorithm) == member.checksum


def _checksum(path: Path, algorithm: str) -> Checksum | None:
    try:
        return hash_file(path, algorithm)
    except LibrarianError:
        return None


def _no_directory(path: Path) -> PathNotFound:
    shown = printable(str(path))
    return PathNotFound(f"there is no directory {shown!r}", remedy=f"mkdir -p {shown}", path=shown)


def _in_the_way(path: Path, trouble: str) -> DestinationExists:
    shown = printable(str(path))
    return DestinationExists(f"{shown!r} {trouble}", path=shown)
