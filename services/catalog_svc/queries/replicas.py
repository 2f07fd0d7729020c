"""Facts about copies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import BigInteger, SmallInteger, Text, bindparam, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from catalog_svc.lifecycle import ReplicaState
from catalog_svc.tables import replicas
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, Rows, as_text, given


@cache
def _add() -> HotStatement:
    rows = given(uid=UID, store=Text(), verified=BigInteger())
    added = insert(replicas).from_select(
        ["dataset_uid", "store", "state", "state_reason", "verify_time_us", "update_time_us"],
        select(
            *(rows.c.uid, rows.c.store, literal_column(str(ReplicaState.AVAILABLE.value))),
            *(literal_column("''"), rows.c.verified, bindparam("now_us", type_=BigInteger)),
        ).order_by(rows.c.uid, rows.c.store),
    )
    keys = (as_text(replicas.c.dataset_uid), replicas.c.store)
    return compile_hot(added.on_conflict_do_nothing().returning(*keys))


async def add(
    connection: Bare, uids: Sequence[str], stores: Sequence[str], verified: Sequence[int], now_us: int
) -> set[tuple[str, str]]:
    """Adds replicas that were not known, AVAILABLE since a full read at `verified`; answers which."""
    rows = await _add().fetch(connection, uid=uids, store=stores, verified=verified, now_us=now_us)
    return {(uid, store) for uid, store in rows}


@cache
def _lock() -> HotStatement:
    rows = given(uid=UID, store=Text())
    same = (replicas.c.dataset_uid == rows.c.uid) & (replicas.c.store == rows.c.store)
    return compile_hot(
        select(as_text(replicas.c.dataset_uid), replicas.c.store, replicas.c.state, replicas.c.state_reason)
        .add_columns(replicas.c.verify_time_us)
        .select_from(replicas.join(rows, same))
        .order_by(replicas.c.dataset_uid, replicas.c.store)
        .with_for_update(of=replicas)
    )


async def lock(connection: Bare, uids: Sequence[str], stores: Sequence[str]) -> Rows:
    """The replicas of these (dataset, store) pairs, kept for this transaction.

    A row is (uid, store, state, state_reason, verify_time_us).
    """
    return await _lock().fetch(connection, uid=uids, store=stores)


@cache
def _change() -> HotStatement:
    rows = given(uid=UID, store=Text(), state=SmallInteger(), reason=Text(), verified=BigInteger())
    return compile_hot(
        update(replicas)
        .where(replicas.c.dataset_uid == rows.c.uid, replicas.c.store == rows.c.store)
        .values(
            state=rows.c.state,
            state_reason=rows.c.reason,
            verify_time_us=rows.c.verified,
            update_time_us=bindparam("now_us", type_=BigInteger),
        )
    )


async def change(
    connection: Bare,
    keys: Sequence[tuple[str, str]],
    states: Sequence[int],
    reasons: Sequence[str],
    verified: Sequence[int | None],
    now_us: int,
) -> None:
    """Writes what is now true of replicas that were locked before; keys are (uid, store)."""
    await _change().fetch(
        connection,
        uid=[uid for uid, _ in keys],
        store=[store for _, store in keys],
        state=states,
        reason=reasons,
        verified=verified,
        now_us=now_us,
    )
