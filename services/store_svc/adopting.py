"""AdoptTrees: datasets that already lie on the store are hashed where they are, and held from now on.

Nothing of theirs is touched. What was adopted before and looks unchanged is not read again, so an
interrupted adoption is simply asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum, check_algorithm
from librarian.errors import (
    ChecksumMismatch,
    InvalidInput,
    LibrarianError,
    NameIsPrefix,
    PathHeldByUpload,
)
from librarian.names import check_name, printable
from store_svc import claims, sidecars
from store_svc.identity import OpenRoot
from store_svc.kit import Kit, together
from store_svc.queries import holdings as queries
from store_svc.queries import stores as store_queries
from store_svc.queries import uploads as upload_queries
from store_svc.records import Holding, Store
from store_svc.treereading import Tree, TreeReader

MAX_NAMES: Final = 1000
# Written to the database and told together.
_BATCH: Final = 100
_TELL_SECONDS: Final = 1.0


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


_New = tuple[Tree, Holding]


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
                        yield AdoptProgress([], run.reader.hashed_bytes)
                yield AdoptProgress(work.result(), run.reader.hashed_bytes)
            finally:
                if not work.done():
                    run.reader.stop.set()
                    await asyncio.wait([work])


class _Adoption:
    def __init__(self, kit: Kit, store: Store, root: OpenRoot, algorithm: str, facts_json: str) -> None:
        self._kit = kit
        self._store = store
        self._root = root
        self._algorithm = algorithm
        self._facts_json = facts_json
        self.reader = TreeReader(kit.threads, root)

    async def adopt(self, names: Sequence[str]) -> list[Adopted]:
        async with self._kit.database.transaction() as connection:
            held = await queries.holdings_named(connection, self._store.name, names)
            around = await queries.holders_of(connection, self._store.name, names)
            unsettled = await upload_queries.unsettled_names(connection, self._store.name, names)
        limit = asyncio.Semaphore(2 * self._kit.threads.hash_threads)

        async def one(name: str) -> Adopted | _New:
            before = held.get(name)
            others = around[name] - ({before.uid} if before is not None else set())
            async with limit:
                try:
                    _check_unsettled(name, unsettled)
                    return await self._adopt_one(name, before, others)
                except LibrarianError as error:
                    return Adopted(name, error=error)

        distinct = list(dict.fromkeys(names))
        found = dict(zip(distinct, await together(*map(one, distinct)), strict=True))
        new = [each for each in found.values() if not isinstance(each, Adopted)]
        refused = await self._keep(new) if new else {}
        verdicts = {
            name: each if isinstance(each, Adopted) else refused.get(name, Adopted(name, each[1]))
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
        tree = await self._kit.threads.io(self.reader.look, name)
        algorithm = self._algorithm if before is None else before.digest.algorithm
        if before is not None and tree.looks == before.fingerprint:
            return Adopted(name, before, already=True)
        digest = await self.reader.read(tree, algorithm)
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

    async def _again(self, tree: Tree, before: Holding, digest: Checksum) -> Adopted:
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

    async def _keep(self, new: Sequence[_New]) -> dict[str, Adopted]:
        """Sidecars first and durable, then the books. Answers those refused after all: what lies there was
        placed by an upload meanwhile, whose fate is open and may be to be taken away again.
        """
        await self._kit.threads.io(self._write_sidecars, new)
        self._kit.faults.hit("adopt.sidecars_written")
        await self._kit.threads.io(self._kit.filesystem.sync, self._root.root)
        names = [tree.name for tree, _ in new]
        async with (
            self._kit.place_locks[self._store.name],
            self._kit.database.transaction() as connection,
        ):
            unsettled = await upload_queries.unsettled_names(connection, self._store.name, names)
            holdings = [holding for _, holding in new if holding.name not in unsettled]
            await self._insert(connection, holdings)
        self._kit.faults.hit("adopt.after_commit")
        refused = [holding for _, holding in new if holding.name in unsettled]
        for holding in refused:
            await self._kit.threads.io(sidecars.remove_sidecar, self._root.own, holding.uid)
        return {
            holding.name: Adopted(holding.name, error=_held_by(holding.name, unsettled))
            for holding in refused
        }

    async def _insert(self, connection: AsyncConnection, holdings: Sequence[Holding]) -> None:
        if not holdings:
            return
        await queries.insert_holdings(connection, holdings)
        await store_queries.count_held(
            connection,
            self._store.name,
            datasets=len(holdings),
            size_bytes=sum(holding.size_bytes for holding in holdings),
            inodes=sum(holding.inode_count for holding in holdings),
        )

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


def _check_unsettled(name: str, unsettled: Mapping[str, str]) -> None:
    if name in unsettled:
        raise _held_by(name, unsettled)


def _held_by(name: str, unsettled: Mapping[str, str]) -> PathHeldByUpload:
    shown = printable(name)
    return PathHeldByUpload(
        f"{shown!r} is being ingested by upload {unsettled[name]}",
        remedy="register it again when that has ended, if it is not in the catalogue then",
        path=shown,
        upload_id=unsettled[name],
    )
