"""Sums over the live catalogue, folded from the event log."""

from __future__ import annotations

from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    all_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from catalog_svc.eventtypes import DATASET_PUBLISHED
from catalog_svc.filters import Names
from catalog_svc.tables import datasets, events, summaries, summary_scopes
from svckit.database import HotStatement, compile_hot

from .kit import Bare, Rows, array

_SCOPE = summary_scopes.c.scope == bindparam("scope", type_=Text)


@cache
def _ask() -> HotStatement:
    now = bindparam("now_us", type_=BigInteger)
    asked = insert(summary_scopes).values(
        scope=bindparam("scope", type_=Text), sequence=literal_column("0"), time_us=null(), ask_time_us=now
    )
    kept = asked.on_conflict_do_update(index_elements=["scope"], set_={"ask_time_us": now})
    return compile_hot(kept.returning(summary_scopes.c.time_us))


async def ask(connection: Bare, scope: str, now_us: int) -> int | None:
    """Notes that somebody wants the sums of this scope; since when they are right (None: not yet)."""
    row = await _ask().fetchrow(connection, scope=scope, now_us=now_us)
    assert row is not None
    return None if row[0] is None else int(row[0])


@cache
def _sums() -> HotStatement:
    sums = (summaries.c.store, summaries.c.state, summaries.c.item_count, summaries.c.size_bytes)
    wanted = (summaries.c.scope == bindparam("scope", type_=Text)) & (summaries.c.item_count != 0)
    return compile_hot(select(*sums).where(wanted).order_by(*sums[:2]))


async def sums(connection: Bare, scope: str) -> Rows:
    """(store, state, count, bytes) of a scope; the datasets themselves under store "" and state 0."""
    return await _sums().fetch(connection, scope=scope)


@cache
def _scopes() -> HotStatement:
    return compile_hot(select(summary_scopes.c.scope).order_by(summary_scopes.c.scope))


async def scopes(connection: Bare) -> list[str]:
    """Every scope whose sums are kept."""
    return [scope for (scope,) in await _scopes().fetch(connection)]


@cache
def _claim() -> HotStatement:
    wanted = select(summary_scopes.c.sequence, summary_scopes.c.time_us).where(_SCOPE)
    return compile_hot(wanted.with_for_update(skip_locked=True))


async def claim(connection: Bare, scope: str) -> tuple[int, int] | None:
    """Up to which event the scope is folded, and since when that is known to be all (0: not yet); None
    where another process is at it.
    """
    row = await _claim().fetchrow(connection, scope=scope)
    return None if row is None else (row[0], row[1] or 0)


@cache
def _fold() -> HotStatement:
    high = bindparam("high", type_=Text)
    batch = (
        select(events.c.type, events.c.store, events.c.from_state, events.c.to_state, datasets.c.size_bytes)
        .select_from(events.join(datasets, datasets.c.uid == events.c.dataset_uid))
        .where(
            events.c.sequence > bindparam("after", type_=BigInteger),
            events.c.sequence <= bindparam("upto", type_=BigInteger),
            datasets.c.name >= bindparam("low", type_=Text),
            or_(high.is_(None), datasets.c.name < high),
            datasets.c.name.op("~")(all_(array("regexes", Text()))),
        )
        .cte("batch")
    )
    one: ColumnElement[int] = literal_column("1")
    zero: ColumnElement[int] = literal_column("0")
    changes = union_all(
        select(
            literal_column("''").label("store"), zero.label("state"), one.label("n"), batch.c.size_bytes
        ).where(batch.c.type == literal_column(f"'{DATASET_PUBLISHED}'")),
        select(batch.c.store, batch.c.from_state, -one, -batch.c.size_bytes).where(
            batch.c.from_state.is_not(None)
        ),
        select(batch.c.store, batch.c.to_state, one, batch.c.size_bytes),
    ).subquery("changes")
    sums = insert(summaries).from_select(
        ["scope", "store", "state", "item_count", "size_bytes"],
        select(
            *(bindparam("scope", type_=Text), changes.c.store, changes.c.state, func.sum(changes.c.n)),
            cast(func.sum(changes.c.size_bytes), BigInteger),
        )
        .group_by(changes.c.store, changes.c.state)
        .having(or_(func.sum(changes.c.n) != zero, func.sum(changes.c.size_bytes) != zero)),
    )
    return compile_hot(
        sums.on_conflict_do_update(
            index_elements=["scope", "store", "state"],
            set_={
                "item_count": summaries.c.item_count + sums.excluded.item_count,
                "size_bytes": summaries.c.size_bytes + sums.excluded.size_bytes,
            },
        )
    )


async def fold(connection: Bare, scope: str, names: Names, after: int, upto: int) -> None:
    """Adds to the sums what the events after `after` up to `upto` changed for these names."""
    await _fold().fetch(
        connection,
        scope=scope,
        low=names.low,
        high=names.high,
        regexes=list(names.regexes),
        after=after,
        upto=upto,
    )


@cache
def _progress() -> HotStatement:
    return compile_hot(
        update(summary_scopes)
        .where(_SCOPE)
        .values(
            sequence=bindparam("upto", type_=BigInteger),
            time_us=func.coalesce(bindparam("now_us", type_=BigInteger), summary_scopes.c.time_us),
        )
    )


async def progress(connection: Bare, scope: str, upto: int, now_us: int | None) -> None:
    """The scope is folded up to here; `now_us` where that is all there is."""
    await _progress().fetch(connection, scope=scope, upto=upto, now_us=now_us)


@cache
def _drop_unasked() -> HotStatement:
    old = select(summary_scopes.c.scope).where(
        summary_scopes.c.scope != literal_column("''"),
        summary_scopes.c.ask_time_us < bindparam("before_us", type_=BigInteger),
    )
    chosen = old.with_for_update(skip_locked=True).cte("chosen")
    scopes = delete(summary_scopes).where(summary_scopes.c.scope == chosen.c.scope).cte("scopes")
    return compile_hot(delete(summaries).where(summaries.c.scope == chosen.c.scope).add_cte(scopes))


async def drop_unasked(connection: Bare, before_us: int) -> None:
    """Stops keeping sums that nobody has asked for since; those of everything stay."""
    await _drop_unasked().fetch(connection, before_us=before_us)
