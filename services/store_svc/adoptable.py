"""What is to be adopted, and whether the books let it: as they are when the work begins, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum
from librarian.errors import ChecksumMismatch, LibrarianError, NameIsPrefix, PathHeldByUpload
from librarian.names import printable
from store_svc.outcomes import path_taken
from store_svc.places import attempt_under_way, uid_held
from store_svc.queries import holdings as queries
from store_svc.queries import uploads as upload_queries
from store_svc.records import Holding


@dataclass(frozen=True, slots=True)
class ToAdopt:
    """`uid` empty: a new dataset. `digest` None: whatever is found. `facts_json`: for the sidecar."""

    name: str
    uid: str = ""
    digest: Checksum | None = None
    facts_json: str = "{}"


@dataclass(frozen=True, slots=True)
class Adopted:
    """`holding` or `error`. `already`: held before, and it looks unchanged. `found`: what was read of one
    that is refused.
    """

    name: str
    holding: Holding | None = None
    already: bool = False
    error: LibrarianError | None = None
    found: Checksum | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What a store has on its books about some trees. `around`: uids held at, above and below each name;
    `unsettled`: uploads at each name whose fate is open; `attempts`: uploads that bring each uid.
    """

    store: str
    by_name: dict[str, Holding]
    by_uid: dict[str, Holding]
    around: dict[str, set[str]]
    unsettled: dict[str, str]
    attempts: dict[str, str]

    def before(self, wanted: ToAdopt) -> Holding | None:
        """It, as it is held already."""
        return self.by_uid.get(wanted.uid) if wanted.uid else self.by_name.get(wanted.name)

    def check(self, wanted: ToAdopt) -> None:
        """Raises PathHeldByUpload, UploadActive, UidTaken, PathTaken, NameIsPrefix."""
        name, uid = wanted.name, wanted.uid
        if name in self.unsettled:
            raise _held_by(name, self.unsettled[name])
        if uid in self.attempts:
            raise attempt_under_way(uid, self.store, self.attempts[uid])
        before = self.before(wanted)
        if before is not None and before.name != name:
            raise uid_held(uid, self.store, before.name)
        if before is None and name in self.by_name:
            raise path_taken(name, self.store, self.by_name[name])
        others = self.around[name] - ({before.uid} if before is not None else set())
        if others:
            raise NameIsPrefix(
                f"{printable(name)!r} lies inside or around a dataset that is held already",
                name=printable(name),
                uid=min(others),
            )

    def verdict(self, wanted: ToAdopt, read: Holding) -> Adopted:
        """On what was read, when it is to be written down."""
        try:
            self.check(wanted)
        except LibrarianError as error:
            return Adopted(wanted.name, error=error, found=read.digest)
        before = self.before(wanted)
        if before is None:
            return Adopted(wanted.name, read)
        # Somebody else has adopted it meanwhile.
        return disagreement(wanted.name, before.digest, read.digest) or Adopted(
            wanted.name, before, already=True
        )


async def read_books(connection: AsyncConnection, store: str, wanted: Sequence[ToAdopt]) -> Books:
    names = [one.name for one in wanted]
    uids = [one.uid for one in wanted if one.uid]
    return Books(
        store,
        await queries.holdings_named(connection, store, names),
        await queries.get_holdings(connection, store, uids) if uids else {},
        await queries.holders_of(connection, store, names),
        await upload_queries.unsettled_names(connection, store, names),
        await upload_queries.attempts_for(connection, store, uids) if uids else {},
    )


def disagreement(name: str, known: Checksum | None, found: Checksum) -> Adopted | None:
    """A refusal where what lies there is not what is known of it."""
    if known is None or found == known:
        return None
    error = ChecksumMismatch(
        f"{printable(name)!r} is known as {known}, and what lies there is {found}",
        remedy="`librarian verify` tells what has changed; a dataset is never adopted anew",
        expected=known,
        found=found,
    )
    return Adopted(name, error=error, found=found)


def _held_by(name: str, upload_id: str) -> PathHeldByUpload:
    shown = printable(name)
    return PathHeldByUpload(
        f"{shown!r} is being ingested by upload {upload_id}",
        remedy="register it again when that has ended, if it is not in the catalogue then",
        path=shown,
        upload_id=upload_id,
    )
