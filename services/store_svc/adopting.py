"""AdoptTrees: datasets that already lie on the store are hashed where they are, and held from now on.

Nothing of theirs is touched. What was adopted before and looks unchanged is not read again, so an
interrupted adoption is simply asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Final

from librarian.checksums import Checksum, check_algorithm
from librarian.errors import (
    Cancelled,
    ChecksumMismatch,
    InvalidInput,
    LibrarianError,
    NameIsPrefix,
    PathNotFound,
    SourceChanged,
    SpecialFile,
    StagedFileChanged,
)
from librarian.fileerrors import reading_error
from librarian.manifests import MAX_MEMBERS, DatasetKind, MemberKind, too_many_members
from librarian.names import check_member_path, check_name, printable
from store_svc import claims, layout, sidecars
from store_svc.directories import READ, below, opened
from store_svc.identity import OpenRoot
from store_svc.kit import Kit, together
from store_svc.looking import SPECIAL, look, walk_dataset
from store_svc.queries import holdings as queries
from store_svc.queries import stores as store_queries
from store_svc.records import Fingerprint, Holding, Store
from store_svc.taking import SealedEntry, hash_unchanged

MAX_NAMES: Final = 1000
# Written to the database and told together.
_BATCH: Final = 100
_TELL_SECONDS: Final = 1.0
_GROUP_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Adopted:
    """`holding` or `error`. `already`: held before, and it looks unchanged."""

    name: str
    holding: Holding | None = None
    already: bool = False
    error: LibrarianError | None = None


@dataclass(frozen=True, slots=True)
class AdoptProgress:
    trees: list[Adopted]
    hashed_bytes: int


@dataclass(slots=True)
class _Tree:
    name: str
    kind: DatasetKind
    entries: list[SealedEntry]
    looks: Fingerprint
    directory_count: int


_New = tuple[_Tree, Holding]


async def adopt_trees(
    kit: Kit, store_name: str, names: Sequence[str], algorithm: str, facts_json: str
) -> AsyncIterator[AdoptProgress]:
    """A verdict for each name. Raises StoreNotFound, StoreDisabled, StoreIdentity, AlgorithmNotAllowed."""
    check_algorithm(algorithm)
    claims.check_facts(facts_json)
    if len(names) > MAX_NAMES:
        raise InvalidInput(f"{len(names)} names are given; {MAX_NAMES} are allowed in one call")
    store = await kit.store(store_name)
    async with kit.open_root(store) as root:
        run = _Adoption(kit, store, root, algorithm, facts_json)
        for start in range(0, len(names), _BATCH):
            work = asyncio.create_task(run.adopt(names[start : start + _BATCH]))
            try:
                while not work.done():
                    await asyncio.wait([work], timeout=_TELL_SECONDS)
                    if not work.done():
                        yield AdoptProgress([], run.hashed_bytes)
                yield AdoptProgress(work.result(), run.hashed_bytes)
            finally:
                if not work.done():
                    run.stop.set()
                    await asyncio.wait([work])


class _Adoption:
    def __init__(self, kit: Kit, store: Store, root: OpenRoot, algorithm: str, facts_json: str) -> None:
        self._kit = kit
        self._store = store
        self._root = root
        self._algorithm = algorithm
        self._facts_json = facts_json
        self.hashed_bytes = 0
        self.stop = Event()

    async def adopt(self, names: Sequence[str]) -> list[Adopted]:
        async with self._kit.database.transaction() as connection:
            held = await queries.holdings_named(connection, self._store.name, names)
            around = await queries.holders_of(connection, self._store.name, names)
        limit = asyncio.Semaphore(2 * self._kit.threads.hash_threads)

        async def one(name: str) -> Adopted | _New:
            before = held.get(name)
            others = around[name] - ({before.uid} if before is not None else set())
            async with limit:
                try:
                    return await self._adopt_one(name, before, others)
                except LibrarianError as error:
                    return Adopted(name, error=error)

        distinct = list(dict.fromkeys(names))
        found = dict(zip(distinct, await together(*map(one, distinct)), strict=True))
        new = [each for each in found.values() if not isinstance(each, Adopted)]
        if new:
            await self._keep(new)
        verdicts = {
            name: each if isinstance(each, Adopted) else Adopted(name, each[1])
            for name, each in found.items()
        }
        return [verdicts[name] for name in names]

    async def _adopt_one(self, name: str, before: Holding | None, others: set[str]) -> Adopted | _New:
        check_name(name)
        if others:
            raise NameIsPrefix(
                f"{printable(name)!r} lies inside or around a dataset that is held already",
                name=printable(name),
                uid=min(others),
            )
        tree = await self._kit.threads.io(self._look, name)
        algorithm = self._algorithm if before is None else before.digest.algorithm
        if before is not None and tree.looks == before.fingerprint:
            return Adopted(name, before, already=True)
        digest = await self._hash(tree, algorithm)
        if before is not None:
            return await self._again(tree, before, digest)
        now = self._kit.clock.now()
        members = claims.members_of(tree.entries)
        size = sum(member.size_bytes for member in members)
        inodes = len(members) + tree.directory_count
        return tree, Holding(
            self._kit.ids.new_uid(),
            self._store.name,
            name,
            tree.kind,
            digest,
            size,
            len(members),
            inodes,
            tree.looks,
            now,
        )

    async def _again(self, tree: _Tree, before: Holding, digest: Checksum) -> Adopted:
        """It was read again because it looks otherwise, or another algorithm is asked for."""
        if digest != before.digest:
            raise ChecksumMismatch(
                f"{printable(before.name)!r} is held as {before.digest}, and what lies there now is {digest}",
                remedy="`librarian verify` tells what has changed; a dataset is never adopted anew",
                uid=before.uid,
            )
        async with self._kit.database.transaction() as connection:
            await queries.set_verified(connection, before.uid, tree.looks, self._kit.clock.now())
        return Adopted(before.name, before, already=True)

    async def _keep(self, new: Sequence[_New]) -> None:
        """Sidecars first and durable, then the books."""
        await self._kit.threads.io(self._write_sidecars, new)
        self._kit.faults.hit("adopt.sidecars_written")
        await self._kit.threads.io(self._kit.filesystem.sync, self._root.root)
        holdings = [holding for _, holding in new]
        async with self._kit.database.transaction() as connection:
            await queries.insert_holdings(connection, holdings)
            await store_queries.count_held(
                connection,
                self._store.name,
                datasets=len(holdings),
                size_bytes=sum(holding.size_bytes for holding in holdings),
                inodes=sum(holding.inode_count for holding in holdings),
            )
        self._kit.faults.hit("adopt.after_commit")

    def _write_sidecars(self, new: Sequence[_New]) -> None:
        for tree, holding in new:
            sidecars.write_sidecar(
                self._root.own,
                uid=holding.uid,
                name=holding.name,
                kind=holding.kind,
                store_uid=self._store.store_uid,
                digest=holding.digest,
                members=claims.members_of(tree.entries),
                looks=holding.fingerprint,
                facts_json=self._facts_json,
            )

    def _look(self, name: str) -> _Tree:
        """Raises PathNotFound, SpecialFile, InvalidName, InvalidSize."""
        folders, last = layout.split_name(name)
        try:
            with below(self._root.root, folders) as parent:
                found = look(parent, last)
                if found is None:
                    raise _nothing_at(name, self._store)
                kind = found[0]
                entries: list[SealedEntry] = []
                for entry in walk_dataset(parent, last):
                    self._check_entry(name, kind, entry)
                    entries.append(entry)
                    if len(entries) > MAX_MEMBERS:
                        raise too_many_members(len(entries))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _nothing_at(name, self._store) from error
        except OSError as error:
            raise reading_error(error, name) from error
        count = _folders(entries) if kind is DatasetKind.DIRECTORY else 0
        return _Tree(name, kind, entries, claims.fingerprint(entries), count)

    def _check_entry(self, name: str, kind: DatasetKind, entry: SealedEntry) -> None:
        if kind is DatasetKind.DIRECTORY:
            check_member_path(entry.path)
            claims.check_target(entry.link_target, entry.path)
        shown = printable(f"{name}/{entry.path}" if entry.path else name)
        if entry.size_bytes == SPECIAL or (kind is DatasetKind.FILE and entry.kind is not MemberKind.FILE):
            what = "a symbolic link" if entry.kind is MemberKind.SYMLINK else "a FIFO, socket or device"
            raise SpecialFile(f"{shown!r} is {what}, which cannot be kept", path=shown)

    async def _hash(self, tree: _Tree, algorithm: str) -> Checksum:
        """Fills in the checksums. Raises SourceChanged, Unreadable, ReadFailed, LinkOutside."""
        files = [entry for entry in tree.entries if entry.kind is MemberKind.FILE]
        files.sort(key=lambda entry: -entry.size_bytes)
        groups: list[list[SealedEntry]] = []
        room = 0
        for entry in files:
            if entry.size_bytes >= room:
                groups.append([])
                room = _GROUP_BYTES
            groups[-1].append(entry)
            room -= entry.size_bytes
        alone = len(files) == 1
        await together(
            *(
                self._kit.threads.hash(self._hash_group, tree.name, group, algorithm, alone)
                for group in groups
            )
        )
        return claims.digest_of(tree.kind, algorithm, claims.members_of(tree.entries))

    def _hash_group(self, name: str, group: Sequence[SealedEntry], algorithm: str, alone: bool) -> None:  # noqa: FBT001 - through an executor
        for entry in group:
            path = f"{name}/{entry.path}" if entry.path else name
            *folders, last = path.split("/")
            try:
                with below(self._root.root, folders) as folder, opened(last, at=folder, flags=READ) as fd:
                    entry.checksum = hash_unchanged(
                        fd, entry, algorithm, printable(path), progress=self._count, alone=alone
                    )
            except StagedFileChanged as error:
                raise SourceChanged(f"{printable(path)!r} changed while it was read", path=path) from error
            except OSError as error:
                raise reading_error(error, path) from error

    def _count(self, count: int) -> None:
        if self.stop.is_set():
            raise Cancelled("nobody waits for this any more")
        self.hashed_bytes += count


def _folders(entries: Sequence[SealedEntry]) -> int:
    """The tree's own folder, and those its members lie in."""
    found = {""}
    for entry in entries:
        above = entry.path.rpartition("/")[0]
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return len(found)


def _nothing_at(name: str, store: Store) -> PathNotFound:
    shown = printable(name)
    return PathNotFound(f"there is nothing at {shown!r} on store {store.name}", path=shown)
