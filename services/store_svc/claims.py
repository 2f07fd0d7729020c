"""Whether what was read is what the client claimed, and how a dataset looks. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from librarian.checksums import Checksum
from librarian.errors import ChecksumMismatch, InvalidInput, InvalidName
from librarian.manifests import DatasetKind, Member, MemberKind, check_members, tree_digest
from librarian.names import printable
from store_svc.records import Claims, Fingerprint, Upload

MAX_FACTS: Final = 1 << 20


class Seen(Protocol):
    """One entry as the file system shows it."""

    path: str
    kind: MemberKind
    size_bytes: int
    mode: int
    mtime_ns: int
    inode: int
    link_target: str
    checksum: Checksum | None


def members_of(seen: Iterable[Seen]) -> list[Member]:
    return [
        Member(
            each.path, each.kind, each.size_bytes, each.checksum, each.link_target, each.mode, each.mtime_ns
        )
        for each in seen
    ]


def digest_of(kind: DatasetKind, algorithm: str, members: Sequence[Member]) -> Checksum:
    """Of members in path order, checked. Raises LinkOutside, InvalidName, InvalidInput, InvalidSize."""
    if kind is DatasetKind.FILE:
        checksum = members[0].checksum
        assert checksum is not None
        return checksum
    check_members(members)
    return tree_digest(algorithm, members)


def check_claims(upload: Upload, claims: Claims, digest: Checksum, members: Sequence[Member]) -> None:
    """Raises ChecksumMismatch, telling the first thing that differs."""
    shown = printable(upload.name)
    size = sum(member.size_bytes for member in members)
    if len(members) != claims.member_count:
        raise ChecksumMismatch(
            f"{shown!r} was claimed to have {claims.member_count} entries, and {len(members)} were staged",
            claimed=claims.member_count,
            found=len(members),
        )
    if size != claims.size_bytes:
        raise ChecksumMismatch(
            f"{shown!r} was claimed to have {claims.size_bytes} bytes, and {size} were staged",
            claimed=claims.size_bytes,
            found=size,
        )
    if digest != claims.digest:
        raise ChecksumMismatch(
            f"{shown!r} was claimed to be {claims.digest}, and what landed is {digest}",
            claimed=claims.digest,
            found=digest,
        )


def check_facts(facts_json: str) -> str:
    """What a sidecar shall tell besides is written as it is: it has to be a JSON object. InvalidInput."""
    try:
        if len(facts_json) <= MAX_FACTS and isinstance(json.loads(facts_json or "{}"), dict):
            return facts_json
    except ValueError:
        pass
    raise InvalidInput(
        f"facts_json is no JSON object of at most {MAX_FACTS} characters",
        remedy="send one JSON object",
        field="facts_json",
    )


def check_target(target: str, path: str) -> str:
    """A link's target, as text that can be written down. Raises InvalidName."""
    try:
        target.encode()
    except UnicodeEncodeError:
        shown = printable(path)
        raise InvalidName(f"the link {shown!r} points to a name that is not UTF-8", path=shown) from None
    return target


class Looks:
    """The fingerprint of entries given in path order. Directories count by their names alone: their mtimes
    change when nothing that matters does.
    """

    def __init__(self) -> None:
        self._layout = hashlib.blake2b(digest_size=16)
        self._inodes = hashlib.blake2b(digest_size=16)
        self._latest = 0

    def add(self, entry: Seen) -> None:
        is_file = entry.kind is MemberKind.FILE
        mtime = entry.mtime_ns if is_file else 0
        self._latest = max(self._latest, mtime)
        self._layout.update(_line(entry.path, entry.kind, entry.size_bytes, mtime, entry.link_target))
        self._inodes.update(_line(entry.path, entry.inode if is_file else 0))

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self._layout.digest(), self._inodes.digest(), self._latest)


def fingerprint(seen: Iterable[Seen]) -> Fingerprint:
    looks = Looks()
    for entry in seen:
        looks.add(entry)
    return looks.fingerprint()


def _line(path: str, *fields: int | str) -> bytes:
    # NUL cannot be part of a path or of a link's target.
    return "\0".join([path, *map(_text, fields), "\n"]).encode(errors="surrogateescape")


def _text(field: int | str) -> str:
    return field if isinstance(field, str) else f"{field:d}"


def slices(count: int, parts: int) -> Iterator[slice]:
    """`count` items as at most `parts` runs of nearly the same length; none is empty."""
    parts = min(parts, count)
    for part in range(parts):
        yield slice(count * part // parts, count * (part + 1) // parts)
