"""Datasets and members as they are told to clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    SmallInteger,
    Text,
    all_,
    and_,
    any_,
    bindparam,
    cast,
    exists,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from catalog_svc.filters import Listing, Names, Order, Shape
from catalog_svc.lifecycle import ReplicaState
from catalog_svc.tables import datasets, members, remote_replicas, replicas
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, Rows, array, as_text, is_live

# In the order that `messages.fill_dataset` takes them.
DATASET = (
    as_text(datasets.c.uid).label("uid_text"),
    datasets.c.name,
    datasets.c.kind,
    datasets.c.digest_algorithm,
    datasets.c.digest,
    datasets.c.size_bytes,
    datasets.c.member_count,
    datasets.c.uploader,
    datasets.c.site,
    datasets.c.create_time_us,
    datasets.c.publish_time_us,
    cast(datasets.c.tags, Text).label("tags_json"),
    datasets.c.state,
    datasets.c.origin,
    datasets.c.traceparent,
)
# In the order that `messages.fill_copy` takes them.
COPY = ("site", "store", "verify_time_us", "time_us", "note", "state", "failure_domain", "via_site")
MEMBER = (
    members.c.path,
    members.c.kind,
    members.c.size_bytes,
    members.c.checksum_algorithm,
    members.c.checksum,
    members.c.link_target,
    members.c.mode,
    members.c.mtime_ns,
)


def _copies(of: Callable[[ColumnElement[str]], ColumnElement[bool]]) -> CompoundSelect[Any]:
    """Every copy of the datasets whose uid meets `of`: (dataset_uid, *COPY).

    Of one here the site is "", the time that of its last change and the note the reason of its state; of
    one elsewhere the state is null, the time that of its receipt's recording and the note the store's class.
    """
    here, elsewhere = replicas.c, remote_replicas.c
    nothing: ColumnElement[str] = literal_column("''::text")
    no_state: ColumnElement[int | None] = literal_column("NULL::smallint")
    return union_all(
        select(
            *(as_text(here.dataset_uid).label("dataset_uid"), nothing.label("site"), here.store),
            *(here.verify_time_us, here.update_time_us.label("time_us"), here.state_reason.label("note")),
            *(here.state, nothing.label("failure_domain"), nothing.label("via_site")),
        ).where(of(here.dataset_uid)),
        select(
            *(as_text(elsewhere.dataset_uid), elsewhere.site, elsewhere.store),
            *(elsewhere.verify_time_us, elsewhere.record_time_us, elsewhere.store_class),
            *(no_state, elsewhere.failure_domain, elsewhere.via_site),
        ).where(of(elsewhere.dataset_uid)),
    )


@cache
def _with_copies(*, by_name: bool) -> HotStatement:
    wanted = (
        (datasets.c.name == bindparam("name", type_=Text)) & is_live
        if by_name
        else datasets.c.uid == bindparam("uid", type_=UID)
    )
    copies = _copies(lambda uid: uid == datasets.c.uid).lateral("copies")
    copy = [copies.c[name] for name in COPY]
    joined = datasets.outerjoin(copies, true())
    return compile_hot(select(*DATASET, *copy).select_from(joined).where(wanted).order_by(*copy[:2]))


async def live_by_name(connection: Bare, name: str) -> Rows:
    """The live dataset of this name, a row for each copy (one with nulls where there is none)."""
    return await _with_copies(by_name=True).fetch(connection, name=name)


async def by_uid(connection: Bare, uid: str) -> Rows:
    """The dataset of this uid, live or not; rows as above."""
    return await _with_copies(by_name=False).fetch(connection, uid=uid)


@cache
def _live_among() -> HotStatement:
    wanted = (datasets.c.name == any_(array("names", Text()))) | (datasets.c.uid == any_(array("uids", UID)))
    return compile_hot(select(*DATASET).where(wanted, is_live))


async def live_among(connection: Bare, names: list[str], uids: list[str]) -> Rows:
    """The live datasets among these names and uids."""
    return await _live_among().fetch(connection, names=names, uids=uids)


@cache
def _copies_of() -> HotStatement:
    uids = array("uids", UID)
    return compile_hot(_copies(lambda uid: uid == any_(uids)).order_by("site", "store"))


async def copies_of(connection: Bare, uids: list[str]) -> Rows:
    """Every copy of these datasets, with the dataset's uid before it."""
    return await _copies_of().fetch(connection, uids=uids)


def _replica_with(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(replicas.c.dataset_uid == datasets.c.uid, *conditions)


def _available_on(store: str) -> ColumnElement[bool]:
    available = replicas.c.state == literal_column(str(ReplicaState.AVAILABLE.value))
    return _replica_with(replicas.c.store == bindparam(store, type_=Text), available)


def _receipted_by(site: str) -> ColumnElement[bool]:
    of_site = remote_replicas.c.site == bindparam(site, type_=Text)
    return and_(remote_replicas.c.dataset_uid == datasets.c.uid, of_site)


def _none(copy: ColumnElement[bool]) -> ColumnElement[bool]:
    """Looked for dataset by dataset. NOT EXISTS would be a join, which without statistics, as on a new site,
    PostgreSQL makes by comparing every dataset with every copy.
    """
    return select(literal_column("1")).where(copy).limit(literal_column("1")).scalar_subquery().is_(None)


# Copies that should be there, well or not.
_EXPECTED = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT, ReplicaState.CORRUPT, ReplicaState.MISSING)


# By the names of `filters.Listing.values`.
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "uploader": datasets.c.uploader == bindparam("uploader", type_=Text),
    "tags_equal": datasets.c.tags.op("@>")(cast(bindparam("tags_equal", type_=Text), JSONB)),
    "tags_present": datasets.c.tags.op("?&")(array("tags_present", Text())),
    "min_size_bytes": datasets.c.size_bytes >= bindparam("min_size_bytes", type_=BigInteger),
    "max_size_bytes": datasets.c.size_bytes <= bindparam("max_size_bytes", type_=BigInteger),
    "after": datasets.c.create_time_us >= bindparam("after", type_=BigInteger),
    "before": datasets.c.create_time_us < bindparam("before", type_=BigInteger),
    "has_store": exists().where(_available_on("has_store")),
    "lacks_store": _none(_available_on("lacks_store")),
    "expected_store": exists().where(
        _replica_with(
            replicas.c.store == bindparam("expected_store", type_=Text),
            replicas.c.state.in_([literal_column(str(state.value)) for state in _EXPECTED]),
        )
    ),
    "has_site": exists().where(_receipted_by("has_site")),
    "lacks_site": _none(_receipted_by("lacks_site")),
    "has_replica_state": exists().where(
        _replica_with(replicas.c.state == bindparam("has_replica_state", type_=SmallInteger))
    ),
}


# Page sizes that are written into the statement: not knowing how few rows are wanted, PostgreSQL plans
# anew for every call, which takes as long as reading the page. Each is one more than clients ask for.
_COMMON_LIMITS = frozenset({101, 1001})


@lru_cache(maxsize=256)
def _list_datasets(shape: Shape, limit: int | None) -> HotStatement:
    conditions = [is_live, *_name_conditions(shape), *(_CONDITIONS[name] for name in sorted(shape.others))]
    keys = (datasets.c.create_time_us, datasets.c.uid)
    last = (bindparam("last_time", type_=BigInteger), bindparam("last_uid", type_=UID))
    order: tuple[ColumnElement[object], ...]
    if shape.order is Order.NAME:
        order = (datasets.c.name,)
    elif shape.order is Order.CREATE_TIME:
        order = keys
        conditions += [tuple_(*keys) > tuple_(*last)] if shape.resumed else []
    else:
        order = tuple(key.desc() for key in keys)
        conditions += [tuple_(*keys) < tuple_(*last)] if shape.resumed else []
    wanted = bindparam("row_limit", type_=Integer) if limit is None else literal_column(str(limit))
    return compile_hot(select(*DATASET).where(*conditions).order_by(*order).limit(wanted))


def _name_conditions(shape: Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    low = bindparam("low", type_=Text)
    if shape.low:
        exclusive = shape.resumed and shape.order is Order.NAME
        conditions.append(datasets.c.name > low if exclusive else datasets.c.name >= low)
    if shape.high:
        conditions.append(datasets.c.name < bindparam("high", type_=Text))
    if shape.regexes:
        conditions.append(datasets.c.name.op("~")(all_(array("regexes", Text()))))
    return conditions


async def list_datasets(connection: Bare, listing: Listing, limit: int) -> Rows:
    """The next `limit` live datasets of a listing.

    Where no index order serves all conditions, the plan must suit the values: a prefix of ten names
    and one of a million call for different ones, and PostgreSQL would settle for one plan after five.
    """
    statement = _list_datasets(listing.shape, limit if limit in _COMMON_LIMITS else None)
    if listing.shape.served_by_index:
        return await statement.fetch(connection, row_limit=limit, **listing.values)
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        return await statement.fetch(connection, row_limit=limit, **listing.values)


@cache
def _name_of() -> HotStatement:
    return compile_hot(select(datasets.c.name).where(datasets.c.uid == bindparam("uid", type_=UID)))


async def name_of(connection: Bare, uid: str) -> str | None:
    """The name of a dataset, live or not; None where there is none."""
    row = await _name_of().fetchrow(connection, uid=uid)
    return None if row is None else str(row[0])


@cache
def _list_members(*, ranged: bool, high: bool, globbed: bool) -> HotStatement:
    path = members.c.path
    conditions = [
        members.c.dataset_uid == bindparam("uid", type_=UID),
        path > bindparam("last", type_=Text),
    ]
    if ranged:
        conditions.append(path >= bindparam("low", type_=Text))
    if high:
        conditions.append(path < bindparam("high", type_=Text))
    if globbed:
        conditions.append(path.op("~")(all_(array("regexes", Text()))))
    statement = select(*MEMBER).where(*conditions).order_by(path)
    return compile_hot(statement.limit(bindparam("row_limit", type_=Integer)))


async def list_members(connection: Bare, uid: str, paths: Names, last: str, limit: int) -> Rows:
    """The next `limit` members of a dataset after the path `last` ("" from the beginning)."""
    statement = _list_members(
        ranged=bool(paths.low), high=paths.high is not None, globbed=bool(paths.regexes)
    )
    return await statement.fetch(
        connection,
        uid=uid,
        last=last,
        low=paths.low,
        high=paths.high,
        regexes=list(paths.regexes),
        row_limit=limit,
    )
