"""What lies beside the data, below `.librarian/`: enough to make the catalogue row and the books again.

A sidecar is one JSON object; a manifest has one JSON object a line, one for each member in path order.
Written before the data appears at its place, made durable by the caller's sync.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from librarian.checksums import Checksum
from librarian.errors import LibrarianError, ReplicaCorrupt
from librarian.fileerrors import is_full, no_room
from librarian.manifests import DatasetKind, Member, MemberKind
from store_svc import layout
from store_svc.directories import CREATE, READ, below, open_made, opened
from store_svc.filesystem import write_all
from store_svc.records import Fingerprint

_FORMAT: Final = "librarian-sidecar-v1"
_BUFFER_BYTES: Final = 1 << 20
_MODE: Final = 0o644
# A manifest this short is looked through from its start.
_SCANNED_BYTES: Final = 16 << 10


def write_sidecar(
    own: int,
    *,
    uid: str,
    name: str,
    kind: DatasetKind,
    store_uid: str,
    digest: Checksum,
    members: list[Member],
    looks: Fingerprint,
    facts_json: str,
) -> None:
    """Replaces an older one. `facts_json`: what the catalogue wants to find again, a JSON object."""
    content = {
        "format": _FORMAT,
        "uid": uid,
        "name": name,
        "kind": kind.name,
        "digest": str(digest),
        "size_bytes": sum(member.size_bytes for member in members),
        "member_count": len(members),
        "store_uid": store_uid,
        "mtime_ns": looks.mtime_ns,
    }
    if kind is DatasetKind.FILE:
        content["mode"] = members[0].mode
    head = json.dumps(content, ensure_ascii=False)[:-1]
    data = f'{head}, "facts": {facts_json or "{}"}}}\n'.encode()
    if kind is DatasetKind.DIRECTORY:
        _write(own, layout.manifest(uid), _lines(members))
    _write(own, layout.sidecar(uid), [data])


def read_sidecar(own: int, uid: str) -> dict[str, Any]:
    """Raises ReplicaCorrupt where there is none, or it is none of this dataset."""
    with _reading(own, layout.sidecar(uid)) as source:
        try:
            found = json.load(source)
        except ValueError:
            found = None
    if not isinstance(found, dict) or found.get("uid") != uid:
        raise _unusable(layout.sidecar(uid))
    return found


def read_manifest(own: int, uid: str, *, after: str = "") -> Iterator[Member]:
    """Members in path order, those after `after` only. Raises ReplicaCorrupt."""
    with _reading(own, layout.manifest(uid)) as lines:
        for line in lines:
            member = _parsed(line, uid)
            if member.path > after:
                yield member


def find_member(own: int, uid: str, path: str) -> Member | None:
    """The one of this path, by bisection of the manifest. Raises ReplicaCorrupt."""
    with _reading(own, layout.manifest(uid), _SCANNED_BYTES) as lines:
        # Lines that start before `low` have paths before it; those from `high` on have paths after it.
        low, high = 0, os.fstat(lines.fileno()).st_size
        while high - low > _SCANNED_BYTES:
            middle = (low + high) // 2
            lines.seek(middle)
            lines.readline()
            start = lines.tell()
            if start >= high:
                break
            line = lines.readline()
            member = _parsed(line, uid)
            if member.path == path:
                return member
            low, high = (start + len(line), high) if member.path < path else (low, start)
        lines.seek(low)
        wanted = _line_start(path)
        while lines.tell() < high and (line := lines.readline()):
            if line.startswith(wanted):
                return _parsed(line, uid)
    return None


def _parsed(line: bytes, uid: str) -> Member:
    try:
        return _member(json.loads(line))
    except (ValueError, KeyError, TypeError, LibrarianError) as error:
        raise _unusable(layout.manifest(uid)) from error


def _reading(own: int, place: tuple[str, str, str], buffer_bytes: int = _BUFFER_BYTES) -> BinaryIO:
    folder, part, file = place
    try:
        with below(own, (folder, part)) as fd:
            return os.fdopen(os.open(file, READ, dir_fd=fd), "rb", buffering=buffer_bytes)
    except FileNotFoundError as error:
        raise _unusable(place) from error


def _unusable(place: tuple[str, str, str]) -> ReplicaCorrupt:
    path = "/".join((layout.OWN, *place))
    return ReplicaCorrupt(f"the store's own record {path} is missing or cannot be read", path=path)


def remove_sidecar(own: int, uid: str) -> None:
    """With the manifest; fine where there is none."""
    for folder, part, file in (layout.sidecar(uid), layout.manifest(uid)):
        with suppress(FileNotFoundError), below(own, (folder, part)) as fd:
            os.unlink(file, dir_fd=fd)


def _write(own: int, place: tuple[str, str, str], pieces: Iterable[bytes]) -> None:
    folder, part, file = place
    with opened(folder, at=own) as above:
        fd = open_made(above, part, layout.OWN_MODE)
    try:
        target = _create(file, fd)
        try:
            offset = 0
            for piece in pieces:
                offset += write_all(target, piece, offset)
        finally:
            os.close(target)
    except OSError as error:
        if is_full(error):
            raise no_room(error, "/".join(place)) from error
        raise
    finally:
        os.close(fd)


def _create(file: str, at: int) -> int:
    try:
        return os.open(file, CREATE, _MODE, dir_fd=at)
    except FileExistsError:
        # Of an attempt that a crash ended, or of an earlier adoption; half a file is no use to anyone.
        os.unlink(file, dir_fd=at)
        return os.open(file, CREATE, _MODE, dir_fd=at)


def _lines(members: list[Member]) -> Iterator[bytes]:
    pending = bytearray()
    for member in members:
        pending += _dumped(_record(member)) + b"\n"
        if len(pending) >= _BUFFER_BYTES:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)


def _dumped(record: dict[str, object]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _line_start(path: str) -> bytes:
    """What the line of just this path starts with."""
    return _dumped({"path": path})[:-1] + b","


def _record(member: Member) -> dict[str, object]:
    record: dict[str, object] = {"path": member.path, "kind": member.kind.name}
    if member.checksum is not None:
        record |= {"size": member.size_bytes, "checksum": str(member.checksum)}
    if member.link_target:
        record["target"] = member.link_target
    return record | {"mode": member.mode, "mtime_ns": member.mtime_ns}


def _member(record: dict[str, Any]) -> Member:
    checksum = record.get("checksum")
    return Member(
        record["path"],
        MemberKind[record["kind"]],
        record.get("size", 0),
        None if checksum is None else Checksum.parse(checksum),
        record.get("target", ""),
        record["mode"],
        record["mtime_ns"],
    )
