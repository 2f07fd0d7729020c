"""AdoptTrees: datasets that already lie on the store are hashed where they are, and held from now on.

Nothing of theirs is touched. What was adopted before and looks unchanged is not read again, so an
interrupted adoption is simply asked for again. What is a dataset already keeps its uid, and is held only
where it agrees with all that is known of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum, check_algorithm
from librarian.errors import InvalidInput, LibrarianError
from librarian.names import check_name
from store_svc import claims, layout, sidecars
from store_svc.adoptable import Adopted, Books, ToAdopt, disagreement, read_books
from store_svc.directories import below, lstat
from store_svc.identity import OpenRoot
from store_svc.kit import Kit, together
from store_svc.places import uid_held
from store_svc.queries import holdings as queries
from store_svc.queries import stores as store_queries
from store_svc.records import Holding, Store
from store_svc.treereading import Tree, TreeReader

MAX_NAMES: Final = 1000
# Written to the database and told together.
_BATCH: Final = 100
_TELL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class AdoptProgress:
    trees: list[Adopted]
    hashed_bytes: int


@dataclass(frozen=True, slots=True)
class _New:
    wanted: ToAdopt
    tree: Tree
    holding: Holding


async def adopt_trees(
    kit: Kit, store_name: str, wanted: Sequence[ToAdopt], algorithm: str
) -> AsyncIterator[AdoptProgress]:
    """A verdict for each. Raises StoreNotFound, StoreDisabled, StoreIdentity, AlgorithmNotAllowed,
    InvalidInput.
    """
    check_algorithm(algorithm)
    _check(wanted)
    store = await kit.store(store_name)
    async with kit.open_root(store) as root:
        run = _Adoption(kit, store, root, algorithm)
        for start in range(0, len(wanted), _BATCH):
            work = asyncio.create_task(run.adopt(wanted[start : start + _BATCH]))
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


def _check(wanted: Sequence[ToAdopt]) -> None:
    if len(wanted) > MAX_NAMES:
        raise InvalidInput(f"{len(wanted)} names are given; {MAX_NAMES} are allowed in one call")
    for facts_json in {one.facts_json for one in wanted}:
        claims.check_facts(facts_json)
    distinct = set(wanted)
    uids = [one.uid for one in distinct if one.uid]
    if len({one.name for one in distinct}) < len(distinct) or len(set(uids)) < len(uids):
        raise InvalidInput("a name or a uid is given twice, with different things said of it", field="uids")


class _Adoption:
    def __init__(self, kit: Kit, store: Store, root: OpenRoot, algorithm: str) -> None:
        self._kit = kit
        self._store = store
        self._root = root
        self._algorithm = algorithm
        self.reader = TreeReader(kit.threads, root)

    async def adopt(self, wanted: Sequence[ToAdopt]) -> list[Adopted]:
        distinct = list(dict.fromkeys(wanted))
        books = await self._books(distinct)
        limit = asyncio.Semaphore(2 * self._kit.threads.hash_threads)

        async def one(each: ToAdopt) -> Adopted | _New:
            async with limit:
                try:
                    return await self._adopt_one(each, books)
                except LibrarianError as error:
                    return Adopted(each.name, error=error)

        found = await together(*map(one, distinct))
        new = [each for each in found if isinstance(each, _New)]
        verdicts = await self._keep(new) if new else {}
        verdicts |= {each.name: each for each in found if isinstance(each, Adopted)}
        return [verdicts[each.name] for each in wanted]

    async def _books(self, wanted: Sequence[ToAdopt]) -> Books:
        async with self._kit.database.transaction() as connection:
            return await read_books(connection, self._store.name, wanted)

    async def _adopt_one(self, wanted: ToAdopt, books: Books) -> Adopted | _New:
        name = check_name(wanted.name)
        if wanted.uid:
            layout.check_uid(wanted.uid)
        books.check(wanted)
        tree = await self._kit.threads.io(self.reader.look, name)
        before = books.before(wanted)
        if before is not None:
            return await self._again(wanted, tree, before)
        told = await self._kit.threads.io(self._told, wanted) if wanted.uid else None
        algorithm = self._algorithm if wanted.digest is None else wanted.digest.algorithm
        digest = await self.reader.read(tree, algorithm)
        refusal = disagreement(name, wanted.digest, digest) or disagreement(name, told, digest)
        if refusal is not None:
            return refusal
        members = claims.members_of(tree.entries)
        holding = Holding(
            wanted.uid or self._kit.ids.new_uid(),
            self._store.name,
            name,
            tree.kind,
            digest,
            sum(member.size_bytes for member in members),
            len(members),
            len(members) + tree.directory_count,
            tree.looks,
            self._kit.clock.now(),
        )
        return _New(wanted, tree, holding)

    async def _again(self, wanted: ToAdopt, tree: Tree, before: Holding) -> Adopted:
        """Held before: read again only where it looks otherwise."""
        refusal = disagreement(before.name, wanted.digest, before.digest)
        if refusal is None and tree.looks != before.fingerprint:
            digest = await self.reader.read(tree, before.digest.algorithm)
            refusal = disagreement(before.name, before.digest, digest)
            if refusal is None:
                async with self._kit.database.transaction() as connection:
                    await queries.set_verified(connection, before, tree.looks, self._kit.clock.now())
        return refusal or Adopted(before.name, before, already=True)

    def _told(self, wanted: ToAdopt) -> Checksum | None:
        """What a sidecar that is there already tells of the dataset. Raises UidTaken where it tells of
        another place, and that is not empty.
        """
        try:
            told = sidecars.read_sidecar(self._root.own, wanted.uid)
            name, digest = check_name(told["name"]), Checksum.parse(told["digest"])
        except (LibrarianError, KeyError, TypeError, AttributeError):
            # None, or one that is no use: then what lies there is all that is known.
            return None
        if name == wanted.name:
            return digest
        folders, last = layout.split_name(name)
        try:
            with below(self._root.root, folders) as parent:
                is_there = lstat(last, at=parent) is not None
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
        if is_there:
            raise uid_held(wanted.uid, self._store.name, name)
        return digest

    async def _keep(self, new: Sequence[_New]) -> dict[str, Adopted]:
        """Sidecars first and durable, then the books. Some may be refused after all: of an upload that has
        placed it meanwhile the fate is open, and it may be to be taken away again.
        """
        books = await self._books([one.wanted for one in new])
        verdicts = {one.wanted.name: books.verdict(one.wanted, one.holding) for one in new}
        good = [one for one in new if verdicts[one.wanted.name].holding is one.holding]
        await self._kit.threads.io(self._write_sidecars, good)
        self._kit.faults.hit("adopt.sidecars_written")
        await self._kit.threads.io(self._kit.filesystem.sync, self._root.root)
        async with (
            self._kit.place_locks[self._store.name],
            self._kit.database.transaction() as connection,
        ):
            # As who begins an upload does: of an adoption and an upload of one uid, the second finds the
            # first.
            await store_queries.lock_stores(connection, [self._store.name])
            books = await read_books(connection, self._store.name, [one.wanted for one in good])
            verdicts |= {one.wanted.name: books.verdict(one.wanted, one.holding) for one in good}
            refused = [one for one in good if verdicts[one.wanted.name].holding is not one.holding]
            kept = [one.holding for one in good if verdicts[one.wanted.name].holding is one.holding]
            await self._insert(connection, kept)
        self._kit.faults.hit("adopt.after_commit")
        for one in refused:
            # That of a uid which was given may be another's by now.
            if not one.wanted.uid:
                await self._kit.threads.io(sidecars.remove_sidecar, self._root.own, one.holding.uid)
        return verdicts

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
        for one in new:
            holding = one.holding
            sidecars.write_sidecar(
                self._root.own,
                uid=holding.uid,
                name=holding.name,
                kind=holding.kind,
                store_uid=self._store.store_uid,
                digest=holding.digest,
                members=claims.members_of(one.tree.entries),
                looks=holding.fingerprint,
                facts_json=one.wanted.facts_json,
            )
