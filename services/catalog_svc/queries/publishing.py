"""Making datasets visible, and what must be known before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    SmallInteger,
    Text,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from catalog_svc.columns import Batch
from catalog_svc.eventtypes import DATASET_PUBLISHED
from catalog_svc.judging import Holder
from catalog_svc.lifecycle import ReplicaState
from catalog_svc.naming import Identity, Neighbours
from catalog_svc.tables import LIVE, datasets, events, name_reservations, replicas
from svckit.database import HotStatement, compile_hot
from svckit.locking import in_order, locked

from .kit import UID, Bare, array, as_text, given, is_live

IDENTITY = (
    as_text(datasets.c.uid),
    datasets.c.name,
    datasets.c.kind,
    datasets.c.digest_algorithm,
    datasets.c.digest,
    datasets.c.state,
    datasets.c.name_key,
)


@cache
def _insert_datasets() -> HotStatement:
    rows = given(
        uid=UID,
        name=Text(),
        key=Text(),
        kind=SmallInteger(),
        algorithm=Text(),
        digest=LargeBinary(),
        size=BigInteger(),
        members=BigInteger(),
        created=BigInteger(),
        uploader=Text(),
        site=Text(),
        trace=Text(),
        tags=Text(),
        origin=LargeBinary(),
    )
    places = given(uid=UID, store=Text())
    now = bindparam("now_us", type_=BigInteger)
    inserted = (
        insert(datasets)
        .from_select(
            [
                *("uid", "name", "name_key", "kind", "state", "digest_algorithm", "digest", "size_bytes"),
                *("member_count", "create_time_us", "publish_time_us", "uploader", "site", "traceparent"),
                *("tags", "origin"),
            ],
            select(
                *(rows.c.uid, rows.c.name, rows.c.key, rows.c.kind, literal_column(str(LIVE))),
                *(rows.c.algorithm, rows.c.digest, rows.c.size, rows.c.members, rows.c.created, now),
                *(rows.c.uploader, rows.c.site, rows.c.trace, cast(rows.c.tags, JSONB), rows.c.origin),
            ),
        )
        .on_conflict_do_nothing()
        .returning(datasets.c.uid, datasets.c.name_key)
        .cte("inserted")
    )
    copies = (
        insert(replicas)
        .from_select(
            ["dataset_uid", "store", "state", "state_reason", "verify_time_us", "update_time_us"],
            select(
                *(places.c.uid, places.c.store, literal_column(str(ReplicaState.AVAILABLE.value))),
                *(literal_column("''"), now, now),
            ).select_from(places.join(inserted, inserted.c.uid == places.c.uid)),
        )
        .cte("copies")
    )
    some_lost = func.count() < bindparam("row_count", type_=BigInteger)
    keys = case((some_lost, func.array_agg(inserted.c.name_key)), else_=null())
    return compile_hot(select(func.count(), keys).select_from(inserted).add_cte(copies))


async def insert_datasets(connection: Bare, batch: Batch, now_us: int) -> set[str] | None:
    """Puts in what can be, each with the replica on its store; None where that was all of them, else the
    keys of those it was.

    A name or uid that another has keeps its row out; where the other is not committed yet, this waits.
    """
    row = await _insert_datasets().fetchrow(
        connection,
        uid=batch.uids,
        name=batch.names,
        key=batch.keys,
        kind=batch.kinds,
        algorithm=batch.algorithms,
        digest=batch.digests,
        size=batch.sizes,
        members=batch.member_counts,
        created=batch.create_times,
        uploader=batch.uploaders,
        site=batch.sites,
        trace=batch.traceparents,
        tags=batch.tags,
        origin=batch.origins,
        store=batch.stores,
        now_us=now_us,
        row_count=len(batch.uids),
    )
    assert row is not None
    inserted, keys = row
    return None if inserted == len(batch.uids) else set(keys or ())


@cache
def _delete_datasets() -> HotStatement:
    uids = array("uids", UID)
    copies = delete(replicas).where(replicas.c.dataset_uid == any_(uids)).cte("copies")
    return compile_hot(delete(datasets).where(datasets.c.uid == any_(uids)).add_cte(copies))


async def take_back(connection: Bare, uids: list[str]) -> None:
    """Removes rows this very transaction has put in, which nobody has seen."""
    await _delete_datasets().fetch(connection, uids=uids)


@cache
def _names_around() -> HotStatement:
    keys = given(key=Text())
    within = (
        select(datasets.c.name.label("name"))
        .where(is_live, datasets.c.name_key > keys.c.key + "/", datasets.c.name_key < keys.c.key + "0")
        # Ordered, the index on names is the only plan: without statistics another one may look cheaper.
        .order_by(datasets.c.name_key)
        .limit(literal_column("1"))
        .lateral("within")
    )
    inside = select(literal_column("true"), keys.c.key, within.c.name).select_from(keys.join(within, true()))
    around = select(literal_column("false"), datasets.c.name_key, datasets.c.name).where(
        is_live, datasets.c.name_key == any_(array("directories", Text()))
    )
    return compile_hot(union_all(inside, around))


async def names_around(connection: Bare, keys: Sequence[str], directories: Sequence[str]) -> Neighbours:
    """Live names inside of these keys, and live names that are one of these directories.

    `/` is followed by `0`: what lies inside of `x` is between `x/` and `x0`.
    """
    found = Neighbours({}, {})
    for is_inside, key, name in await _names_around().fetch(connection, key=keys, directories=directories):
        (found.inside if is_inside else found.around)[key] = name
    return found


@cache
def _holders() -> HotStatement:
    same_name = (datasets.c.name_key == any_(array("keys", Text()))) & is_live
    same_uid = datasets.c.uid == any_(array("uids", UID))
    published_on = (
        select(events.c.store)
        .where(
            events.c.dataset_uid == datasets.c.uid, events.c.type == literal_column(f"'{DATASET_PUBLISHED}'")
        )
        .order_by(events.c.sequence)
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    return compile_hot(select(*IDENTITY, published_on).where(or_(same_name, same_uid)))


async def holders(connection: Bare, keys: Sequence[str], uids: Sequence[str]) -> list[Holder]:
    """Who has these names or uids."""
    rows = await _holders().fetch(connection, keys=keys, uids=uids)
    return [Holder(Identity(*row[:5]), row[6], row[5] == LIVE, row[7] or "") for row in rows]


@cache
def _reserve() -> HotStatement:
    rows = given(uid=UID, name=Text())
    target = name_reservations
    return compile_hot(
        insert(target)
        .from_select(
            ["uid", "name", "subject", "reserve_time_us"],
            select(
                *(rows.c.uid, rows.c.name, bindparam("subject", type_=Text)),
                bindparam("now_us", type_=BigInteger),
            ).order_by(rows.c.uid),
        )
        .on_conflict_do_nothing()
    )


async def reserve(connection: Bare, uids: list[str], names: list[str], *, subject: str, now_us: int) -> None:
    """Notes who is about to take which name."""
    await _reserve().fetch(connection, uid=uids, name=names, subject=subject, now_us=now_us)


@cache
def _end_reservations() -> HotStatement:
    theirs = name_reservations.c.uid == any_(array("uids", UID))
    ended = in_order(name_reservations, theirs, deleting=True)
    return compile_hot(delete(name_reservations).where(locked(name_reservations, ended)))


async def end_reservations(connection: Bare, uids: Sequence[str]) -> None:
    """Forgets who was about to: it has come to a verdict."""
    await _end_reservations().fetch(connection, uids=uids)


@cache
def _known() -> HotStatement:
    return compile_hot(select(as_text(datasets.c.uid)).where(datasets.c.uid == any_(array("uids", UID))))


async def known(connection: Bare, uids: Sequence[str]) -> set[str]:
    """Those of these uids that are catalogued, live or not."""
    return {uid for (uid,) in await _known().fetch(connection, uids=uids)}
