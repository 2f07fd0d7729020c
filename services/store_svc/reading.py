"""BeginRead, ReadDataset and ReadManifest: bytes and member lists of what the store holds."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

import google_crc32c

from librarian.errors import InvalidInput, MemberNotFound, OutOfRange, ReadFailed, ReplicaNotFound
from librarian.fileerrors import reading_error
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.names import check_member_path, printable
from store_svc import layout, sidecars
from store_svc.directories import READ, below
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.queries import holdings as queries
from store_svc.records import Holding, Store
from store_svc.tickets import Purpose, Ticket
from svckit.auth import Caller

CHUNK_BYTES: Final = 1 << 20
MAX_RANGES: Final = 1000
# Read ahead of what the client has taken.
_AHEAD: Final = 3
_MEMBERS_PER_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ReadGrant:
    store: Store
    holding: Holding
    path: str
    proof_path: str
    ticket: str
    ticket_expires: datetime


@dataclass(frozen=True, slots=True)
class Range:
    """`length` 0: to the end."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """`range_index`: which of the ranges asked for."""

    range_index: int
    offset: int
    data: bytes
    crc32c: int
    last: bool


async def held(kit: Kit, uid: str) -> Holding:
    """Raises ReplicaNotFound."""
    async with kit.database.transaction() as connection:
        found = await queries.get_holding(connection, uid)
    if found is None:
        raise ReplicaNotFound(f"dataset {printable(uid)} is not held here", uid=printable(uid))
    return found


async def begin_read(kit: Kit, store_name: str, uid: str, caller: Caller) -> ReadGrant:
    """Raises ReplicaNotFound (also for what the caller may not see), StoreDisabled, StoreIdentity."""
    store = await kit.store(store_name)
    holding = await held(kit, uid)
    if holding.store != store_name or not caller.may_see(holding.name):
        raise ReplicaNotFound(f"dataset {printable(uid)} is not held here", uid=printable(uid))
    async with kit.open_root(store):
        pass
    ticket = Ticket(Purpose.READ, uid, caller.token_id, caller.subject)
    text, expires = kit.tickets.issue(ticket, kit.clock.now())
    return ReadGrant(
        store,
        holding,
        layout.dataset_path(store.seen_root, holding.name),
        layout.identity_path(store.seen_root),
        text,
        expires,
    )


async def read_dataset(kit: Kit, ticket: Ticket, uid: str, ranges: Sequence[Range]) -> AsyncIterator[Piece]:
    """The ranges one after another. Raises MemberNotFound, OutOfRange, ReadFailed, TokenRevoked."""
    if len(ranges) > MAX_RANGES:
        raise InvalidInput(f"{len(ranges)} ranges are asked for; {MAX_RANGES} are allowed in one call")
    holding = await held(kit, uid)
    store = await kit.store(holding.store)
    async with kit.open_root(store) as root:
        for index, wanted in enumerate(ranges):
            _check_range(holding, wanted)
            reader = await kit.threads.io(_Reader, root, holding, wanted)
            try:
                async for offset, data, crc, last in _prefetched(kit, reader):
                    kit.tickets.check_revoked(ticket)
                    yield Piece(index, offset, data, crc, last)
            finally:
                await kit.threads.io(reader.close)


async def _prefetched(kit: Kit, reader: _Reader) -> AsyncIterator[tuple[int, bytes, int, bool]]:
    """A few chunks are read while the client takes the ones before."""
    ahead: deque[asyncio.Task[tuple[int, bytes, int, bool]]] = deque()
    offsets = reader.offsets()
    try:
        while True:
            while len(ahead) < _AHEAD and (offset := next(offsets, None)) is not None:
                ahead.append(asyncio.create_task(kit.threads.io(reader.read, offset)))
            if not ahead:
                return
            yield await ahead.popleft()
    finally:
        # The file is closed after this: no thread may still be reading it.
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


class _Reader:
    """One range of one file."""

    def __init__(self, root: OpenRoot, holding: Holding, wanted: Range) -> None:
        self._name = f"{holding.name}/{wanted.path}" if wanted.path else holding.name
        *folders, last = self._name.split("/")
        try:
            with below(root.root, folders) as folder:
                self._fd = os.open(last, READ, dir_fd=folder)
        except OSError as error:
            raise _missing(error, wanted.path, holding) from error
        try:
            status = os.fstat(self._fd)
            self._end = _end_of(status, wanted, self._name)
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
            shown = printable(self._name)
            raise ReadFailed(f"{shown!r} ends before byte {offset + length}", path=shown)
        return offset, data, google_crc32c.value(data), offset + length == self._end

    def close(self) -> None:
        os.close(self._fd)


def _check_range(holding: Holding, wanted: Range) -> None:
    if holding.kind is DatasetKind.DIRECTORY:
        check_member_path(wanted.path)
    elif wanted.path:
        raise _no_member(wanted.path, holding)
    if min(wanted.offset, wanted.length) < 0:
        raise InvalidInput("a range has a negative offset or length")


def _end_of(status: os.stat_result, wanted: Range, name: str) -> int:
    shown = printable(name)
    if not stat.S_ISREG(status.st_mode):
        raise MemberNotFound(f"{shown!r} is no file", path=shown)
    end = wanted.offset + wanted.length if wanted.length else status.st_size
    if wanted.offset > status.st_size or end > status.st_size:
        raise OutOfRange(
            f"{shown!r} has {status.st_size} bytes, and {wanted.offset} to {end} are asked for",
            remedy="ask for a range inside the file",
            path=shown,
            size_bytes=status.st_size,
        )
    return end


def _missing(error: OSError, path: str, holding: Holding) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
        return _no_member(path, holding)
    return reading_error(error, f"{holding.name}/{path}")


def _no_member(path: str, holding: Holding) -> MemberNotFound:
    shown, name = printable(path), printable(holding.name)
    return MemberNotFound(f"{name!r} has no file {shown!r} on this store", name=name, path=shown)


async def read_manifest(kit: Kit, store_name: str, uid: str, after: str) -> AsyncIterator[list[Member]]:
    """Members in path order, those after `after`. Raises ReplicaNotFound, ReplicaCorrupt."""
    store = await kit.store(store_name)
    holding = await held(kit, uid)
    if holding.store != store_name:
        raise ReplicaNotFound(f"dataset {uid} is not held on {store_name}", uid=uid, store=store_name)
    async with kit.open_root(store) as root:
        members = await kit.threads.io(members_of, root, holding, after)
        take: Callable[[], list[Member]] = lambda: _take(members)  # noqa: E731
        while batch := await kit.threads.io(take):
            yield batch


def members_of(root: OpenRoot, holding: Holding, after: str = "") -> Iterator[Member]:
    """As recorded. A file dataset has one member without a path."""
    if holding.kind is DatasetKind.DIRECTORY:
        return sidecars.read_manifest(root.own, holding.uid, after=after)
    mode = sidecars.read_sidecar(root.own, holding.uid).get("mode", 0)
    mtime = holding.fingerprint.mtime_ns
    member = Member("", MemberKind.FILE, holding.size_bytes, holding.digest, "", mode, mtime)
    return iter(() if after else (member,))


def _take(members: Iterator[Member]) -> list[Member]:
    return list(islice(members, _MEMBERS_PER_MESSAGE))
