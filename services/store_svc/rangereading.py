"""One range of one file of a held dataset: opened, compared with the store's own record, read.

Told apart by class: a request that was wrong from the start (MemberNotFound, OutOfRange), bytes that are
not there any more (SourceVanished) or are others (SourceChanged), and those that cannot be had now
(Unreadable, ReadFailed).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c

from librarian.errors import (
    InvalidInput,
    LibrarianError,
    MemberNotFound,
    OutOfRange,
    ReplicaCorrupt,
    SourceChanged,
    SourceVanished,
)
from librarian.fileerrors import reading_error
from librarian.manifests import DatasetKind, MemberKind
from librarian.names import check_member_path, printable
from store_svc import layout, sidecars
from store_svc.directories import READ, below
from store_svc.identity import OpenRoot
from store_svc.looking import look
from store_svc.records import Holding

CHUNK_BYTES: Final = 1 << 20
_REMEDY: Final = "verify the dataset: what is wrong with its copy here is recorded then"


@dataclass(frozen=True, slots=True)
class Range:
    """`length` 0: to the end of what lies there, whatever its size."""

    path: str
    offset: int
    length: int


class RangeReader:
    """To be closed."""

    def __init__(self, root: OpenRoot, holding: Holding, wanted: Range) -> None:
        self._name = f"{holding.name}/{wanted.path}" if wanted.path else holding.name
        recorded = _recorded_size(root, holding, wanted)
        *folders, last = self._name.split("/")
        try:
            with below(root.root, folders) as folder:
                self._fd = os.open(last, READ, dir_fd=folder)
        except OSError as error:
            raise _opening_error(error, self._name) from error
        try:
            self._end = _end_of(os.fstat(self._fd), recorded, wanted, self._name)
        except BaseException:
            os.close(self._fd)
            raise
        self._start = wanted.offset

    def offsets(self) -> Iterator[int]:
        """Of the chunks; an empty range has one empty chunk, which tells that it is done."""
        if self._start == self._end:
            return iter((self._start,))
        return iter(range(self._start, self._end, CHUNK_BYTES))

    def read(self, offset: int) -> tuple[int, bytes, int, bool]:
        """Offset, bytes, their crc32c, and whether they are the range's last."""
        length = min(CHUNK_BYTES, self._end - offset)
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise reading_error(error, self._name) from error
        if len(data) < length:
            raise changed(self._name, f"ends before byte {offset + length} now")
        return offset, data, google_crc32c.value(data), offset + length == self._end

    def close(self) -> None:
        os.close(self._fd)


def check_there(root: OpenRoot, holding: Holding) -> None:
    """Whether there is a copy to read at all. Raises SourceVanished, SourceChanged, ReadFailed."""
    folders, last = layout.split_name(holding.name)
    try:
        with below(root.root, folders) as parent:
            found = look(parent, last)
    except OSError as error:
        raise _opening_error(error, holding.name) from error
    if found is None:
        raise vanished(holding.name)
    if found[0] is not holding.kind:
        raise changed(holding.name, f"is no {holding.kind.name.lower()} any more")


def vanished(name: str) -> SourceVanished:
    shown = printable(name)
    return SourceVanished(f"there is no {shown!r} on the store any more", remedy=_REMEDY, path=shown)


def changed(name: str, how: str) -> SourceChanged:
    shown = printable(name)
    return SourceChanged(f"{shown!r} {how}", remedy=_REMEDY, path=shown)


def _recorded_size(root: OpenRoot, holding: Holding, wanted: Range) -> int | None:
    """None where the store's own record cannot be used: the bytes may be good all the same."""
    if min(wanted.offset, wanted.length) < 0:
        raise InvalidInput("a range has a negative offset or length")
    if holding.kind is DatasetKind.FILE:
        if wanted.path:
            raise _no_member(wanted.path, holding)
        return holding.size_bytes
    check_member_path(wanted.path)
    try:
        member = sidecars.find_member(root.own, holding.uid, wanted.path)
    except (ReplicaCorrupt, OSError):
        return None
    if member is None or member.kind is not MemberKind.FILE:
        raise _no_member(wanted.path, holding)
    return member.size_bytes


def _end_of(status: os.stat_result, recorded: int | None, wanted: Range, name: str) -> int:
    """Who names a length counts on the recorded size; without one, what is there is given as it is."""
    if not stat.S_ISREG(status.st_mode):
        raise changed(name, "is no file any more")
    size = status.st_size
    expected = size if recorded is None else recorded
    needed = wanted.offset + wanted.length
    if needed > expected:
        shown = printable(name)
        raise OutOfRange(
            f"{shown!r} has {expected} bytes, and {wanted.offset} to {needed} are asked for",
            remedy="ask for a range inside the file",
            path=shown,
            size_bytes=expected,
        )
    if needed > size or (wanted.length and size != expected):
        raise changed(name, f"has {size} bytes, and {expected} are recorded")
    return needed if wanted.length else size


def _opening_error(error: OSError, name: str) -> LibrarianError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return vanished(name)
    if error.errno == errno.ELOOP:
        return changed(name, "is a symbolic link now")
    return reading_error(error, name)


def _no_member(path: str, holding: Holding) -> MemberNotFound:
    shown, name = printable(path), printable(holding.name)
    return MemberNotFound(f"{name!r} has no file {shown!r}", name=name, path=shown)
