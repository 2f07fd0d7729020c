"""Statements about uploads. A change of state asks for the state before it: a late one changes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum
from librarian.manifests import DatasetKind
from store_svc.lifecycle import GIVEN_UP, PROMISED, UNFINISHED, UploadEvent, UploadState, states_before
from store_svc.queries.arrays import BIGINT, BYTES, SMALLINT, TEXT, array, rows, values_of
from store_svc.records import Claims, StoredError, Upload, UploadSpec, Verified
from store_svc.room import wanted
from store_svc.tables import holdings, uploads


async def insert_uploads(
    connection: AsyncConnection,
    store: str,
    area: str,
    subject: str,
    specs: Sequence[UploadSpec],
    now: datetime,
) -> set[str]:
    """Opens those that are new; answers their ids."""
    given = rows(
        upload_id=TEXT,
        name=TEXT,
        kind=SMALLINT,
        algorithm=TEXT,
        reserved_bytes=BIGINT,
        reserved_inodes=BIGINT,
    )
    common = {
        "store": literal(store),
        "area": literal(area),
        "subject": literal(subject),
        "state": literal(int(UploadState.OPEN)),
        "begin_time": literal(now),
        "update_time": literal(now),
    }
    statement = (
        insert(uploads)
        .from_select([*given.c.keys(), *common], select(*given.c, *common.values()))
        .on_conflict_do_nothing()
        .returning(uploads.c.upload_id)
    )
    found = await connection.execute(
        statement,
        values_of(
            upload_id=[spec.upload_id for spec in specs],
            name=[spec.name for spec in specs],
            kind=[int(spec.kind) for spec in specs],
            algorithm=[spec.algorithm for spec in specs],
            reserved_bytes=[spec.size_bytes for spec in specs],
            reserved_inodes=[wanted(0, spec.inode_count).inodes for spec in specs],
        ),
    )
    return set(found.scalars())


async def get_uploads(connection: AsyncConnection, upload_ids: Collection[str]) -> dict[str, Upload]:
    """By id; those there are."""
    statement = select(uploads).where(uploads.c.upload_id == func.any(array("ids", TEXT)))
    found = await connection.execute(statement, {"ids": list(upload_ids)})
    return {row.upload_id: _upload(row) for row in found}


async def open_uploads_of(connection: AsyncConnection, area: str) -> list[Upload]:
    """All of one client that still take bytes."""
    statement = select(uploads).where(uploads.c.area == area, uploads.c.state == UploadState.OPEN)
    return [_upload(row) for row in await connection.execute(statement)]


async def promised_uploads(connection: AsyncConnection, stores: Sequence[str]) -> list[Upload]:
    """All whose promised bytes may still come."""
    statement = select(uploads).where(
        uploads.c.store == func.any(array("stores", TEXT)), uploads.c.state.in_(PROMISED)
    )
    return [_upload(row) for row in await connection.execute(statement, {"stores": list(stores)})]


async def set_written(connection: AsyncConnection, written: Mapping[str, int]) -> None:
    """How much of each was found written: so much less is promised."""
    given = rows(upload_id=TEXT, written=BIGINT)
    statement = (
        update(uploads)
        .where(uploads.c.upload_id == given.c.upload_id, uploads.c.state.in_(PROMISED))
        .values(written_bytes=given.c.written)
    )
    await connection.execute(statement, values_of(upload_id=list(written), written=list(written.values())))


async def seal(connection: AsyncConnection, store: str, claims: Mapping[str, Claims], now: datetime) -> None:
    """OPEN -> SEALED, with the client's claims."""
    given = rows(upload_id=TEXT, digest=BYTES, size_bytes=BIGINT, member_count=BIGINT, facts_json=TEXT)
    statement = (
        update(uploads)
        .where(
            uploads.c.upload_id == given.c.upload_id,
            uploads.c.store == store,
            uploads.c.state.in_(states_before(UploadEvent.SEAL)),
        )
        .values(
            state=int(UploadState.SEALED),
            update_time=now,
            claim_digest=given.c.digest,
            claim_size_bytes=given.c.size_bytes,
            claim_member_count=given.c.member_count,
            facts_json=given.c.facts_json,
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
    statement = (
        update(uploads)
        .where(
            uploads.c.upload_id == given.c.upload_id, uploads.c.state.in_(states_before(UploadEvent.VERIFY))
        )
        .values(
            {name: given.c[name] for name in given.c.keys() if name != "upload_id"}  # noqa: SIM118 - no mapping
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
        .where(
            uploads.c.upload_id == func.any(array("ids", TEXT)),
            uploads.c.state.in_(states_before(UploadEvent.PLACE)),
        )
        .values(state=int(UploadState.COMMITTED), update_time=now)
        .returning(uploads)
        .cte("moved")
    )
    held = {
        "uid": moved.c.upload_id,
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
    error = func.jsonb_build_object(
        text("'code'"),
        given.c.code,
        text("'reason'"),
        given.c.reason,
        text("'message'"),
        given.c.message,
        text("'metadata'"),
        given.c.metadata.cast(JSONB),
    )
    statement = (
        update(uploads)
        .where(uploads.c.upload_id == given.c.upload_id, uploads.c.state.in_(states_before(UploadEvent.FAIL)))
        .values(state=int(UploadState.FAILED), update_time=now, error=error)
    )
    await connection.execute(statement, _error_columns(errors))


async def confirm(connection: AsyncConnection, upload_ids: Sequence[str]) -> set[str]:
    """Forgets those that are COMMITTED; answers which. Their holdings stay."""
    statement = (
        delete(uploads)
        .where(
            uploads.c.upload_id == func.any(array("ids", TEXT)),
            uploads.c.state.in_(states_before(UploadEvent.CONFIRM)),
        )
        .returning(uploads.c.upload_id)
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
        update(uploads)
        .where(uploads.c.upload_id == func.any(array("ids", TEXT)), uploads.c.state.in_(states_before(event)))
        .values(state=int(state), update_time=now)
        .returning(uploads)
    )
    return [_upload(row) for row in await connection.execute(statement, {"ids": list(upload_ids)})]


async def mark_cleaned(connection: AsyncConnection, upload_ids: Sequence[str]) -> None:
    """Nothing of them is left on the store."""
    statement = (
        update(uploads).where(uploads.c.upload_id == func.any(array("ids", TEXT))).values(cleaned=True)
    )
    await connection.execute(statement, {"ids": list(upload_ids)})


async def uncleaned(connection: AsyncConnection, store: str, limit: int) -> list[Upload]:
    """Those given up of which something may be left on the store."""
    statement = (
        select(uploads)
        .where(uploads.c.store == store, uploads.c.state.in_(GIVEN_UP), uploads.c.cleaned.is_(False))
        .order_by(uploads.c.upload_id)
        .limit(limit)
    )
    return [_upload(row) for row in await connection.execute(statement)]


async def unfinished(connection: AsyncConnection, store: str) -> list[str]:
    """Those whose commit has begun and not ended."""
    statement = select(uploads.c.upload_id).where(uploads.c.store == store, uploads.c.state.in_(UNFINISHED))
    return list((await connection.execute(statement.order_by(uploads.c.upload_id))).scalars())


async def verified_uploads(connection: AsyncConnection, store: str) -> list[Upload]:
    """All of a store that wait to be placed."""
    statement = select(uploads).where(uploads.c.store == store, uploads.c.state == UploadState.VERIFIED)
    return [_upload(row) for row in await connection.execute(statement.order_by(uploads.c.begin_time))]


async def used_areas(connection: AsyncConnection, areas: Sequence[str]) -> set[str]:
    """Which of these staging areas somebody may still write to, or a commit still take from."""
    statement = (
        select(uploads.c.area)
        .distinct()
        .where(
            uploads.c.area == func.any(array("areas", TEXT)),
            uploads.c.state.in_((UploadState.OPEN, UploadState.SEALED)),
        )
    )
    return set((await connection.execute(statement, {"areas": list(areas)})).scalars())


async def known(connection: AsyncConnection, upload_ids: Sequence[str]) -> dict[str, UploadState]:
    """The states of those among these ids that are uploads."""
    statement = select(uploads.c.upload_id, uploads.c.state).where(
        uploads.c.upload_id == func.any(array("ids", TEXT))
    )
    found = await connection.execute(statement, {"ids": list(upload_ids)})
    return {upload_id: UploadState(state) for upload_id, state in found}


async def sweep(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Forgets those given up, cleaned and older."""
    old = (
        select(uploads.c.upload_id)
        .where(uploads.c.state.in_(GIVEN_UP), uploads.c.cleaned, uploads.c.update_time < before)
        .limit(limit)
    )
    return (await connection.execute(delete(uploads).where(uploads.c.upload_id.in_(old)))).rowcount


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


def _unsigned(number: int) -> int:
    return number + (1 << 64) if number < 0 else number


def _upload(row: Row[Any]) -> Upload:
    claims = digest = None
    if row.claim_digest is not None:
        claim = Checksum(row.algorithm, row.claim_digest)
        claims = Claims(claim, row.claim_size_bytes, row.claim_member_count, row.facts_json)
    if row.digest is not None:
        digest = Checksum(row.algorithm, row.digest)
    return Upload(
        row.upload_id,
        row.store,
        row.area,
        row.name,
        DatasetKind(row.kind),
        row.algorithm,
        row.reserved_bytes,
        row.reserved_inodes,
        UploadState(row.state),
        row.subject,
        row.begin_time,
        claims,
        digest,
        row.size_bytes or 0,
        row.member_count or 0,
        _unsigned(row.inode or 0),
        None if row.error is None else StoredError(**row.error),
    )
