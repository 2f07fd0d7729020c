"""The member list of a directory dataset and the digest over it.

Lists may be long (10^6 members): everything here takes any iterable and holds no second copy of a list
that is already in path order. Path order is the order of raw UTF-8 bytes, which is that of Python
strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from librarian.checksums import Checksum, new_hasher
from librarian.errors import InvalidInput, InvalidSize, LinkOutside
from librarian.links import escapes
from librarian.names import check_member_path, printable

MAX_MEMBERS: Final = 1_000_000
TREE_HEADER: Final = b"librarian-tree-v1\n"
_ESCAPED = re.compile(rb"[%\x00-\x20]")
_FEED_BYTES: Final = 1 << 16


class DatasetKind(IntEnum):
    """As common.v1.DatasetKind."""

    FILE = 1
    DIRECTORY = 2


class MemberKind(IntEnum):
    """As common.v1.MemberKind."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: a file, a directory with nothing in it, or a symbolic link that stays inside.

    `size_bytes` and `checksum` are a file's, `link_target` a link's. `mode` (permission bits) and
    `mtime_ns` are recorded and no part of the digest.
    """

    path: str
    kind: MemberKind
    size_bytes: int = 0
    checksum: Checksum | None = None
    link_target: str = ""
    mode: int = 0
    mtime_ns: int = 0


class TreeDigest:
    """The digest of a directory dataset, fed one member at a time in path order."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)
        self._pending = bytearray(TREE_HEADER)
        self._last: str | None = None

    def add(self, member: Member) -> None:
        """Raises InvalidInput where the member comes twice or out of order."""
        if self._last is not None and member.path <= self._last:
            raise _bad(member.path, "is there twice" if member.path == self._last else "is out of order")
        self._last = member.path
        self._pending += tree_line(member)
        if len(self._pending) >= _FEED_BYTES:
            self._hasher.update(self._pending)
            self._pending = bytearray()

    def checksum(self) -> Checksum:
        """Of all members added so far."""
        self._hasher.update(self._pending)
        self._pending = bytearray()
        return Checksum(self._algorithm, self._hasher.digest())


def tree_line(member: Member) -> bytes:
    """The line of one member in what the digest is taken over, with its LF."""
    path = _escape(member.path)
    match member.kind:
        case MemberKind.FILE:
            if member.checksum is None:
                raise _bad(member.path, "is a file without a checksum")
            return b"f %d %s %s\n" % (member.size_bytes, str(member.checksum).encode(), path)
        case MemberKind.DIRECTORY:
            return b"d %s\n" % path
        case MemberKind.SYMLINK:
            return b"l %s %s\n" % (_escape(member.link_target), path)


def tree_digest(algorithm: str, members: Iterable[Member]) -> Checksum:
    """The digest of a directory dataset with these members, in any order."""
    digest = TreeDigest(algorithm)
    for member in sorted(members, key=_path_of):
        digest.add(member)
    return digest.checksum()


def check_members(members: Iterable[Member]) -> None:
    """Whether these members, in path order, can be one dataset: valid unique paths, none inside another,
    links that stay inside, sizes and checksums where they belong.

    Raises InvalidInput, InvalidName, InvalidSize or LinkOutside, naming the member.
    """
    links: dict[str, str] = {}
    count = 0
    for member in _in_order(members):
        count += 1
        _check_fields(member)
        if member.kind is MemberKind.SYMLINK:
            links[member.path] = member.link_target
    if count > MAX_MEMBERS:
        raise too_many_members(count)
    for path, target in links.items():
        if escapes(path, links):
            raise link_outside(path, target)


def too_many_members(count: int) -> InvalidSize:
    return InvalidSize(
        f"{count} entries are more than the {MAX_MEMBERS} one dataset may have",
        remedy="put the tree as several datasets",
        limit=MAX_MEMBERS,
    )


def link_outside(path: str, target: str) -> LinkOutside:
    shown, points_to = printable(path), printable(target)
    return LinkOutside(
        f"{shown!r} is a symbolic link to {points_to!r}, outside of the dataset", path=shown, target=points_to
    )


def _in_order(members: Iterable[Member]) -> Iterator[Member]:
    """The members, checked for order and for paths inside other members' paths.

    `above` holds the earlier paths that the current one begins with, as text: only among them can there
    be one that it lies inside of (`a` comes before `a-b`, and that before `a/b`).
    """
    above: list[str] = []
    last = ""
    for member in members:
        path = member.path
        check_member_path(path)
        if path <= last:
            raise _bad(path, "is there twice" if path == last else "is out of order")
        while above and not path.startswith(above[-1]):
            above.pop()
        for other in above:
            if path[len(other)] == "/":
                raise _bad(path, f"lies inside of {printable(other)!r}, which is an entry itself")
        above.append(path)
        last = path
        yield member


def _check_fields(member: Member) -> None:
    is_file, is_link = member.kind is MemberKind.FILE, member.kind is MemberKind.SYMLINK
    if member.size_bytes < 0:
        raise InvalidSize(f"{printable(member.path)!r} has a negative size", path=printable(member.path))
    if (member.checksum is not None) != is_file:
        raise _bad(
            member.path, "is a file without a checksum" if is_file else "has a checksum and is no file"
        )
    if member.size_bytes and not is_file:
        raise _bad(member.path, "has a size and is no file")
    if bool(member.link_target) != is_link:
        raise _bad(member.path, "is a link without a target" if is_link else "has a target and is no link")


def _escape(text: str) -> bytes:
    raw = text.encode()
    return _ESCAPED.sub(lambda found: b"%%%02X" % found.group()[0], raw)


def _path_of(member: Member) -> str:
    return member.path


def _bad(path: str, trouble: str) -> InvalidInput:
    shown = printable(path)
    return InvalidInput(f"the entry {shown!r} {trouble}", path=shown)
