"""Every statement of the workers. Each is one statement of its own: a durable step is one round trip.

All writes are fenced: they touch only rows that are still held under the fence they were claimed with,
and answer which those were. A worker drops the others; they are someone else's now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from asyncpg import Connection
from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    lateral,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from svckit import leases
from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import arrays
from transfer_svc.tables import ingests
from transfer_svc.values import Job, Outcome

# 36 characters and a comma each; a notification carries less than 8000 bytes.
_IDS_A_NOTIFICATION: Final = 200
_TIME = DateTime(timezone=True)

_unsettled = not_(ingests.c.settled)


def _work_there_is() -> Any:
    """Each (state, store) with something due and free. Hops along the index from pair to pair, so that
    a long backlog costs no more than a short one.
    """
    pair = (ingests.c.state, ingests.c.store)
    first = select(*pair).where(_unsettled).order_by(*pair).limit(1).subquery("first")
    pairs = select(first.c.state, first.c.store).cte("pairs", recursive=True)
    following = lateral(
        select(*pair)
        .where(_unsettled, tuple_(*pair) > tuple_(pairs.c.state, pairs.c.store))
        .order_by(*pair)
        .limit(1),
        name="following",
    )
    pairs = pairs.union_all(
        select(following.c.state, following.c.store).select_from(pairs.join(following, true()))
    )
    now = bindparam("now", type_=_TIME)
    due = exists().where(
        _unsettled,
        ingests.c.state == pairs.c.state,
        ingests.c.store == pairs.c.store,
        ingests.c.not_before <= now,
        or_(ingests.c.lease_until.is_(None), ingests.c.lease_until <= now),
    )
    return select(pairs.c.state, pairs.c.store).where(due)


_WORK = compile_hot(_work_there_is())


async def find_work(connection: Connection[Any], now: datetime) -> list[tuple[int, str]]:
    """Each (state, store) that has something to be done now."""
    return [(row["state"], row["store"]) for row in await _WORK.fetch(connection, now=now)]


async def claim_jobs(
    connection: AsyncConnection,
    *,
    state: int,
    store: str,
    limit: int,
    owner: str,
    now: datetime,
    ttl: timedelta,
) -> list[Job]:
    """Claims up to `limit` ingests in this state on this store, the longest due first."""
    statement = leases.claim(
        ingests,
        where=and_(_unsettled, ingests.c.state == state, ingests.c.store == store),
        order_by=[ingests.c.not_before],
        limit=limit,
        owner=owner,
        now=now,
        ttl=ttl,
    )
    return [Job.of(row) for row in (await connection.execute(statement)).mappings()]


def _still_held(given: TableValuedAlias) -> CTE:
    """Locked in one order, because a worker's heartbeat and its outcomes are about the same rows."""
    more = [column for column in given.c if column.name not in {"ids", "fences"}]
    return in_order(
        ingests,
        ingests.c.ingest_id == given.c.ids,
        ingests.c.lease_fence == given.c.fences,
        ingests.c.lease_owner.is_not(None),
        carrying=more,
    )


def _pairs(jobs: Collection[Job]) -> dict[str, list[Any]]:
    return {"ids": [job.ingest_id for job in jobs], "fences": [job.lease_fence for job in jobs]}


_extended = _still_held(arrays(ids=Text, fences=BigInteger))
_EXTEND = compile_hot(
    update(ingests)
    .values(lease_until=bindparam("until"))
    .where(locked(ingests, _extended))
    .returning(ingests.c.ingest_id)
)


async def extend_leases(connection: Connection[Any], jobs: Collection[Job], until: datetime) -> set[str]:
    """Keeps these leases until then; answers which are still held."""
    rows = await _EXTEND.fetch(connection, **_pairs(jobs), until=until)
    return {row["ingest_id"] for row in rows}


_released = _still_held(arrays(ids=Text, fences=BigInteger))
_RELEASE = compile_hot(
    update(ingests).values(lease_owner=None, lease_until=None).where(locked(ingests, _released))
)


async def release_jobs(connection: Connection[Any], jobs: Collection[Job]) -> None:
    """Lets others take these up at once, as they are."""
    await _RELEASE.fetch(connection, **_pairs(jobs))


_signed = _still_held(arrays(ids=Text, fences=BigInteger, origins=LargeBinary))
_KEEP_ORIGINS = compile_hot(
    update(ingests)
    .values(origin=_signed.c.origins)
    .where(locked(ingests, _signed))
    .returning(ingests.c.ingest_id)
)


async def keep_origins(connection: Connection[Any], jobs: Collection[Job]) -> set[str]:
    """Writes the signed origins down, before anyone else is told of them."""
    rows = await _KEEP_ORIGINS.fetch(connection, **_pairs(jobs), origins=[job.origin for job in jobs])
    return {row["ingest_id"] for row in rows}


_progressed = _still_held(arrays(ids=Text, fences=BigInteger, verified=BigInteger))
_NOTE_PROGRESS = compile_hot(
    update(ingests)
    .values(verified_bytes=_progressed.c.verified, update_time=bindparam("now"))
    .where(locked(ingests, _progressed))
)


async def note_progress(
    connection: Connection[Any], jobs: Sequence[Job], verified: Sequence[int], now: datetime
) -> None:
    """How far the store has read."""
    await _NOTE_PROGRESS.fetch(connection, **_pairs(jobs), verified=list(verified), now=now)


_outcome = _still_held(
    arrays(
        ids=Text,
        fences=BigInteger,
        states=SmallInteger,
        attempts=Integer,
        due=_TIME,
        errors=Text,
        uids=Text,
        settled=Boolean,
        kept=Boolean,
        voids=Boolean,
    )
)


def _write_and_tell() -> Any:
    """The ids written, joined by commas, as many as one notification carries to a row."""
    given = _outcome.c
    written = (
        update(ingests)
        .values(
            state=given.states,
            attempt_count=given.attempts,
            not_before=given.due,
            error_json=given.errors,
            dataset_uid=given.uids,
            settled=given.settled,
            upload_void=given.voids,
            lease_owner=case((given.kept, ingests.c.lease_owner)),
            lease_until=case((given.kept, ingests.c.lease_until)),
            update_time=bindparam("now"),
        )
        .where(locked(ingests, _outcome))
        .returning(ingests.c.ingest_id)
        .cte("written")
    )
    part = (func.row_number().over() - 1) // _IDS_A_NOTIFICATION
    parts = select(written.c.ingest_id, part.label("part")).subquery("parts")
    ids = func.string_agg(parts.c.ingest_id, ",")
    told = case((bindparam("tell", type_=Boolean), func.pg_notify(bindparam("channel", type_=Text), ids)))
    return select(ids.label("ids"), told).group_by(parts.c.part)


_WRITE = compile_hot(_write_and_tell())


async def write_outcomes(
    connection: Connection[Any], outcomes: Sequence[Outcome], *, now: datetime, channel: str, tell: bool
) -> set[str]:
    """Writes what became of held ingests; `tell` wakes the clients that wait for them."""
    rows = await _WRITE.fetch(
        connection,
        ids=[outcome.ingest_id for outcome in outcomes],
        fences=[outcome.fence for outcome in outcomes],
        states=[int(outcome.state) for outcome in outcomes],
        attempts=[outcome.attempt_count for outcome in outcomes],
        due=[outcome.not_before for outcome in outcomes],
        errors=[outcome.error_json for outcome in outcomes],
        uids=[outcome.dataset_uid for outcome in outcomes],
        settled=[outcome.settled for outcome in outcomes],
        kept=[outcome.keep for outcome in outcomes],
        voids=[outcome.upload_void for outcome in outcomes],
        now=now,
        channel=channel,
        tell=tell,
    )
    return {uid for row in rows for uid in row["ids"].split(",")}


_prolonged = _still_held(arrays(ids=Text, fences=BigInteger))
_PROLONG = compile_hot(
    update(ingests)
    .values(
        expire_time=bindparam("until"),
        not_before=bindparam("until"),
        lease_owner=None,
        lease_until=None,
        attempt_count=0,
    )
    .where(locked(ingests, _prolonged))
)


async def prolong_jobs(connection: Connection[Any], jobs: Collection[Job], until: datetime) -> None:
    """Puts off the expiry of OPEN ingests that turned out to be alive, and lets go of them."""
    await _PROLONG.fetch(connection, **_pairs(jobs), until=until)
