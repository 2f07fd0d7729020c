"""Changes of an upload's state. Each asks for the state before it: a late one changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, TableValuedAlias, case, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store_svc.lifecycle import GIVEN_UP, UploadEvent, UploadState, states_before
from store_svc.queries.arrays import BIGINT, BYTES, SMALLINT, TEXT, array, rows, values_of
from store_svc.queries.uploads import upload_of
from store_svc.records import Claims, StoredError, Upload, Verified
from store_svc.tables import holdings, uploads
from svckit.locking import in_order, locked


async def seal(connection: AsyncConnection, store: str, claims: Mapping[str, Claims], now: datetime) -> None:
    """OPEN -> SEALED, with the client's claims."""
    given = rows(upload_id=TEXT, digest=BYTES, size_bytes=BIGINT, member_count=BIGINT, facts_json=TEXT)
    claimed = in_order(
        uploads,
        uploads.c.upload_id == given.c.upload_id,
        uploads.c.store == store,
        uploads.c.state.in_(states_before(UploadEvent.SEAL)),
        carrying=_others(given),
    )
    statement = (
        update(uploads)
        .where(locked(uploads, claimed))
        .values(
            state=int(UploadState.SEALED),
            update_time=now,
            claim_digest=claimed.c.digest,
            claim_size_bytes=claimed.c.size_bytes,
            claim_member_count=claimed.c.member_count,
            facts_json=claimed.c.facts_json,
        )
    )
    await connection.execute(
        statement,
        values_of(
            upload_id=list(claims),
            digest=[claim.digest.value for claim in claims.values()],
            size_bytes=[claim.size_bytes for claim in claims.values()],
            member_count=[claim.member_count for claim in claims.values()],
            facts_json=[claim.facts_json for claim in claims.values()],
        ),
    )


async def verify(connection: AsyncConnection, found: Sequence[Verified], now: datetime) -> None:
    """SEALED -> VERIFIED, with what was read. All bytes are on the medium: nothing is promised any more."""
    given = rows(
        upload_id=TEXT,
        digest=BYTES,
        size_bytes=BIGINT,
        member_count=BIGINT,
        inode_count=BIGINT,
        inode=BIGINT,
        layout=BYTES,
        inodes=BYTES,
        mtime_ns=BIGINT,
    )
    read = in_order(
        uploads,
        uploads.c.upload_id == given.c.upload_id,
        uploads.c.state.in_(states_before(UploadEvent.VERIFY)),
        carrying=_others(given),
    )
    statement = (
        update(uploads)
        .where(locked(uploads, read))
        .values(
            {column.name: read.c[column.name] for column in _others(given)}
            | {
                "state": int(UploadState.VERIFIED),
                "update_time": now,
                "written_bytes": uploads.c.reserved_bytes,
            }
        )
    )
    await connection.execute(
        statement,
        values_of(
            upload_id=[one.upload_id for one in found],
            digest=[one.digest.value for one in found],
            size_bytes=[one.size_bytes for one in found],
            member_count=[one.member_count for one in found],
            inode_count=[one.inode_count for one in found],
            inode=[_signed(one.inode) for one in found],
            layout=[one.fingerprint.layout for one in found],
            inodes=[one.fingerprint.inodes for one in found],
            mtime_ns=[one.fingerprint.mtime_ns for one in found],
        ),
    )


async def commit(connection: AsyncConnection, upload_ids: Sequence[str], now: datetime) -> list[Row[Any]]:
    """VERIFIED -> COMMITTED, and the store holds the dataset; answers size and inodes of each."""
    moved = (
        update(uploads)
        .where(_of_ids(UploadEvent.PLACE))
        .values(state=int(UploadState.COMMITTED), update_time=now)
        .returning(uploads)
        .cte("moved")
    )
    held = {
        "uid": func.coalesce(moved.c.dataset_uid, moved.c.upload_id),
        "upload_id": case((moved.c.dataset_uid.is_not(None), moved.c.upload_id)),
        "verify_time": literal(now),
        **{
            name: moved.c[name]
            for name in (
                "store",
                "name",
                "kind",
                "algorithm",
                "digest",
                "size_bytes",
                "member_count",
                "inode_count",
                "layout",
                "inodes",
                "mtime_ns",
            )
        },
    }
    statement = (
        insert(holdings)
        .from_select(list(held), select(*held.values()))
        .returning(holdings.c.size_bytes, holdings.c.inode_count)
    )
    return list(await connection.execute(statement, {"ids": list(upload_ids)}))


async def fail(connection: AsyncConnection, errors: Mapping[str, StoredError], now: datetime) -> None:
    """SEALED or VERIFIED -> FAILED, with the reason."""
    given = rows(upload_id=TEXT, code=SMALLINT, reason=TEXT, message=TEXT, metadata=TEXT)
    failing = in_order(
        uploads,
        uploads.c.upload_id == given.c.upload_id,
        uploads.c.state.in_(states_before(UploadEvent.FAIL)),
        carrying=_others(given),
    )
    error = func.jsonb_build_object(
        text("'code'"),
        failing.c.code,
        text("'reason'"),
        failing.c.reason,
        text("'message'"),
        failing.c.message,
        text("'metadata'"),
        failing.c.metadata.cast(JSONB),
    )
    statement = (
        update(uploads)
        .where(locked(uploads, failing))
        .values(state=int(UploadState.FAILED), update_time=now, error=error)
    )
    await connection.execute(statement, _error_columns(errors))


async def confirm(connection: AsyncConnection, upload_ids: Sequence[str]) -> set[str]:
    """Forgets those that are COMMITTED; answers which. Their holdings stay."""
    statement = (
        delete(uploads).where(_of_ids(UploadEvent.CONFIRM, deleting=True)).returning(uploads.c.upload_id)
    )
    return set((await connection.execute(statement, {"ids": list(upload_ids)})).scalars())


async def give_up(
    connection: AsyncConnection,
    upload_ids: Sequence[str],
    event: UploadEvent,
    state: UploadState,
    now: datetime,
) -> list[Upload]:
    """To ABORTED or EXPIRED from any state that `event` may happen in; answers those moved."""
    statement = (
        update(uploads).where(_of_ids(event)).values(state=int(state), update_time=now).returning(uploads)
    )
    return [upload_of(row) for row in await connection.execute(statement, {"ids": list(upload_ids)})]


async def mark_cleaned(connection: AsyncConnection, upload_ids: Sequence[str]) -> None:
    """Nothing of them is left on the store."""
    statement = update(uploads).where(_of_ids()).values(cleaned=True)
    await connection.execute(statement, {"ids": list(upload_ids)})


async def sweep(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Forgets those given up, cleaned and older."""
    old = (
        select(uploads.c.upload_id)
        .where(uploads.c.state.in_(GIVEN_UP), uploads.c.cleaned, uploads.c.update_time < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return (await connection.execute(delete(uploads).where(locked(uploads, old)))).rowcount


def _of_ids(event: UploadEvent | None = None, *, deleting: bool = False) -> ColumnElement[bool]:
    """The uploads `ids` that `event` may happen to, locked in one order."""
    states = [] if event is None else [uploads.c.state.in_(states_before(event))]
    these = uploads.c.upload_id == func.any(array("ids", TEXT))
    return locked(uploads, in_order(uploads, these, *states, deleting=deleting))


def _others(given: TableValuedAlias) -> list[ColumnElement[Any]]:
    """What is told of each upload."""
    return [column for column in given.c if column.name != "upload_id"]


def _error_columns(errors: Mapping[str, StoredError]) -> dict[str, list[Any]]:
    return values_of(
        upload_id=list(errors),
        code=[error.code for error in errors.values()],
        reason=[error.reason for error in errors.values()],
        message=[error.message for error in errors.values()],
        metadata=[json.dumps(error.metadata) for error in errors.values()],
    )


def _signed(number: int) -> int:
    """Inode numbers are unsigned, PostgreSQL's bigint is not."""
    return number - (1 << 64) if number >= 1 << 63 else number
