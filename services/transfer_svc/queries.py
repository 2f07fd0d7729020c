"""Every statement of clients' calls, each for many ingests at once. The workers' are in work_queries.

They run on the driver's own connection, in a transaction or not: decoding rows is most of their cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    LargeBinary,
    SmallInteger,
    Text,
    any_,
    bindparam,
    delete,
    func,
    not_,
    select,
    true,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.lifecycle import INGEST, IngestEvent, IngestState
from transfer_svc.querykit import OWNED, Bare, Owner, arrays, by_id
from transfer_svc.tables import ingests
from transfer_svc.values import INGEST_COLUMNS, Ingest

_VISIBLE = [ingests.c[name] for name in INGEST_COLUMNS]


def _by_id(rows: Iterable[Iterable[Any]]) -> dict[str, Ingest]:
    return {ingest.ingest_id: ingest for ingest in (Ingest(*row) for row in rows)}


_NEW: dict[str, type[TypeEngine[Any]]] = {
    "ingest_id": Text,
    "name": Text,
    "kind": SmallInteger,
    "size_bytes": BigInteger,
    "inode_count": BigInteger,
    "algorithm": Text,
    "tags_json": Text,
    "create_time_us": BigInteger,
    "traceparent": Text,
}
_SHARED: dict[str, TypeEngine[Any] | type[TypeEngine[Any]]] = {
    "state": SmallInteger,
    "uploader": Text,
    "token_id": Text,
    "begin_time": DateTime(timezone=True),
    "update_time": DateTime(timezone=True),
    "expire_time": DateTime(timezone=True),
    "not_before": DateTime(timezone=True),
    "store": Text,
    "staging_group": Text,
}
_new = arrays(**_NEW)
_INSERT = compile_hot(
    insert(ingests)
    .from_select(
        [*_NEW, *_SHARED],
        select(*_new.c, *[bindparam(f"all_{name}", type_=kind) for name, kind in _SHARED.items()]),
    )
    .on_conflict_do_nothing()
    .returning(*_VISIBLE)
)


async def insert_ingests(
    connection: Bare,
    rows: Sequence[Sequence[Any]],
    *,
    uploader: str,
    token_id: str,
    now: datetime,
    expire_time: datetime,
) -> dict[str, Ingest]:
    """Writes OPEN ingests down (values in the order of `_NEW`), and answers them; those that were there
    stay as they are and are not answered.
    """
    values: dict[str, Any] = dict(zip(_NEW, map(list, zip(*rows, strict=True)), strict=True))
    values |= {
        "all_state": INGEST.initial,
        "all_uploader": uploader,
        "all_token_id": token_id,
        "all_begin_time": now,
        "all_update_time": now,
        "all_expire_time": expire_time,
        "all_not_before": expire_time,
        "all_store": "",
        "all_staging_group": "",
    }
    return _by_id(await _INSERT.fetch(connection, **values))


_FETCH = compile_hot(select(*_VISIBLE).where(by_id()))


async def fetch_ingests(connection: Bare, ids: Collection[str]) -> dict[str, Ingest]:
    """The ingests of these ids."""
    return _by_id(await _FETCH.fetch(connection, ids=list(ids)))


_UNDER_WAY = compile_hot(select(ingests.c.ingest_id).where(by_id(), not_(ingests.c.settled)))


async def ingests_under_way(connection: Bare, ids: Collection[str]) -> set[str]:
    """Which of these are ingests whose end the store has not been told."""
    return {row["ingest_id"] for row in await _UNDER_WAY.fetch(connection, ids=list(ids))}


_ARRIVING = compile_hot(
    union(
        select(ingests.c.ingest_id).where(by_id(), ingests.c.target_uid == "", not_(ingests.c.settled)),
        select(ingests.c.target_uid).where(
            ingests.c.target_uid == any_(bindparam("ids", type_=ARRAY(Text))),
            ingests.c.target_uid != "",
            not_(ingests.c.settled),
        ),
    )
)


async def datasets_arriving(connection: Bare, uids: Collection[str]) -> set[str]:
    """Which of these uids are of datasets that an ingest is bringing, whoever began it."""
    return {row["ingest_id"] for row in await _ARRIVING.fetch(connection, ids=list(uids))}


_OPEN = ingests.c.state == IngestState.OPEN
_places = arrays(ids=Text, before=Text, stores=Text, groups=Text)
_placed = in_order(
    ingests,
    ingests.c.ingest_id == _places.c.ids,
    ingests.c.store == _places.c.before,
    _OPEN,
    carrying=(_places.c.stores, _places.c.groups),
)
_PLACE = compile_hot(
    update(ingests)
    .values(store=_placed.c.stores, staging_group=_placed.c.groups)
    .where(locked(ingests, _placed))
    .returning(ingests.c.ingest_id)
)


async def place_ingests(connection: Bare, places: Sequence[tuple[str, str, str, str]]) -> set[str]:
    """Notes which store each OPEN ingest is about to be begun on, and by which call. A place: id, the store
    before (which refused it, or ""), store, group. Answers those that nobody placed elsewhere meanwhile.
    """
    ids, before, stores, groups = (list(values) for values in zip(*places, strict=True))
    rows = await _PLACE.fetch(connection, ids=ids, before=before, stores=stores, groups=groups)
    return {row["ingest_id"] for row in rows}


_refused = arrays(ids=Text, stores=Text)
_discarded = in_order(
    ingests,
    ingests.c.ingest_id == _refused.c.ids,
    ingests.c.store == _refused.c.stores,
    _OPEN,
    deleting=True,
)
_DISCARD = compile_hot(delete(ingests).where(locked(ingests, _discarded)))


async def discard_ingests(connection: Bare, refused: Sequence[tuple[str, str]]) -> None:
    """Forgets OPEN ingests (id, the store that refused it last or "") that are on no store at all."""
    ids, stores = (list(values) for values in zip(*refused, strict=True))
    await _DISCARD.fetch(connection, ids=ids, stores=stores)


# A worker that holds one of these rows (to expire it) loses it: its lease is gone, its write refused.
LET_GO: dict[str, Any] = {"lease_owner": None, "lease_until": None, "attempt_count": 0, "error_json": ""}
_PROLONG = compile_hot(
    update(ingests)
    .values(
        expire_time=bindparam("until"), not_before=bindparam("until"), update_time=bindparam("now"), **LET_GO
    )
    .where(locked(ingests, in_order(ingests, by_id(), _OPEN)))
)


async def prolong_ingests(
    connection: Bare, ids: Sequence[str], *, now: datetime, expire_time: datetime
) -> None:
    """Puts off the expiry of OPEN ingests that their client goes on with."""
    await _PROLONG.fetch(connection, ids=list(ids), now=now, until=expire_time)


_claims = arrays(
    ids=Text, algorithms=Text, digests=LargeBinary, claimed_sizes=BigInteger, member_counts=BigInteger
)
_claimed = in_order(
    ingests,
    ingests.c.ingest_id == _claims.c.ids,
    ingests.c.algorithm == _claims.c.algorithms,
    ingests.c.store != "",
    _OPEN,
    OWNED,
    carrying=(_claims.c.digests, _claims.c.claimed_sizes, _claims.c.member_counts),
)
_COMMIT = compile_hot(
    update(ingests)
    .values(
        state=INGEST.move(IngestState.OPEN, IngestEvent.COMMIT),
        digest=_claimed.c.digests,
        claimed_bytes=_claimed.c.claimed_sizes,
        member_count=_claimed.c.member_counts,
        update_time=bindparam("now"),
        not_before=bindparam("now"),
        **LET_GO,
    )
    .where(locked(ingests, _claimed))
    .returning(*_VISIBLE)
)


async def commit_ingests(
    connection: Bare, owner: Owner, claims: Iterable[tuple[str, str, bytes, int, int]], now: datetime
) -> dict[str, Ingest]:
    """Hands OPEN, placed ingests over to the workers; answers those it did that to. A claim: id, algorithm,
    digest, size and member count.
    """
    ids, algorithms, digests, sizes, counts = (list(values) for values in zip(*claims, strict=True))
    rows = await _COMMIT.fetch(
        connection,
        ids=ids,
        algorithms=algorithms,
        digests=digests,
        claimed_sizes=sizes,
        member_counts=counts,
        now=now,
        **owner.parameters(),
    )
    return _by_id(rows)


_ABORT = compile_hot(
    update(ingests)
    .values(
        state=INGEST.move(IngestState.OPEN, IngestEvent.ABORT),
        update_time=bindparam("now"),
        not_before=bindparam("now"),
        # Never placed: no store knows of it.
        settled=ingests.c.store == "",
        **LET_GO,
    )
    .where(locked(ingests, in_order(ingests, by_id(), _OPEN, OWNED)))
    .returning(*_VISIBLE)
)


async def abort_ingests(
    connection: Bare, owner: Owner, ids: Collection[str], now: datetime
) -> dict[str, Ingest]:
    """Gives OPEN ingests up; workers will have the store clear its side. Answers those it did that to."""
    return _by_id(await _ABORT.fetch(connection, ids=list(ids), now=now, **owner.parameters()))


async def list_ingests(
    connection: AsyncConnection,
    owner: Owner,
    *,
    states: Sequence[int],
    after: str,
    limit: int,
) -> list[Ingest]:
    """A page of ingests, newest first, after the last one sent ("": from the start)."""
    statement = (
        select(*_VISIBLE)
        .where(
            owner.clause(),
            ingests.c.state.in_(states) if states else true(),
            ingests.c.ingest_id < after if after else true(),
        )
        .order_by(ingests.c.ingest_id.desc())
        .limit(limit)
    )
    return [Ingest(*row) for row in await connection.execute(statement)]


_NOTIFY = compile_hot(select(func.pg_notify(bindparam("channel", type_=Text), "")))


async def call_workers(connection: Bare, channel: str) -> None:
    """Wakes the workers once this transaction is committed. A hint: they look by themselves, too."""
    await _NOTIFY.fetch(connection, channel=channel)
