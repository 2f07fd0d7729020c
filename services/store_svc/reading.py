"""BeginRead, ReadDataset and ReadManifest: bytes and member lists of what the store holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from librarian.errors import InvalidInput, ReplicaNotFound
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.names import printable
from store_svc import layout, sidecars
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.queries import holdings as queries
from store_svc.rangereading import Range, RangeReader, check_there
from store_svc.records import Holding, Store
from store_svc.tickets import Purpose, Ticket
from svckit.auth import Caller

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
class Piece:
    """`range_index`: which of the ranges asked for."""

    range_index: int
    offset: int
    data: bytes
    crc32c: int
    last: bool


async def held(kit: Kit, store_name: str, uid: str) -> Holding:
    """On any store where none is named. Raises ReplicaNotFound."""
    async with kit.database.transaction() as connection:
        found = await queries.get_holding(connection, store_name, uid)
    if found is None:
        raise _not_held(uid)
    return found


def _not_held(uid: str) -> ReplicaNotFound:
    return ReplicaNotFound(f"dataset {printable(uid)} is not held here", uid=printable(uid))


async def begin_read(kit: Kit, store_name: str, uid: str, caller: Caller) -> ReadGrant:
    """Raises ReplicaNotFound (also for what the caller may not see), StoreDisabled, StoreIdentity,
    SourceVanished, SourceChanged.
    """
    store = await kit.store(store_name)
    holding = await held(kit, store_name, uid)
    if not caller.may_see(holding.name):
        raise _not_held(uid)
    async with kit.open_root(store) as root:
        await kit.threads.io(check_there, root, holding)
    ticket = Ticket(Purpose.READ, uid, caller.token_id, caller.subject, store_name)
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
    """The ranges one after another. Raises what `rangereading` tells apart, and TokenRevoked."""
    if len(ranges) > MAX_RANGES:
        raise InvalidInput(f"{len(ranges)} ranges are asked for; {MAX_RANGES} are allowed in one call")
    holding = await held(kit, ticket.store, uid)
    store = await kit.store(holding.store)
    async with kit.open_root(store) as root:
        for index, wanted in enumerate(ranges):
            reader = await kit.threads.io(RangeReader, root, holding, wanted)
            try:
                async for offset, data, crc, last in _prefetched(kit, reader):
                    kit.tickets.check_revoked(ticket)
                    yield Piece(index, offset, data, crc, last)
            finally:
                await kit.threads.io(reader.close)


async def _prefetched(kit: Kit, reader: RangeReader) -> AsyncIterator[tuple[int, bytes, int, bool]]:
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


async def read_manifest(kit: Kit, store_name: str, uid: str, after: str) -> AsyncIterator[list[Member]]:
    """Members in path order, those after `after`. Raises ReplicaNotFound, ReplicaCorrupt."""
    store = await kit.store(store_name)
    holding = await held(kit, store_name, uid)
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
