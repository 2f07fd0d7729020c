"""Statements that open uploads and ask about them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum
from librarian.manifests import DatasetKind
from store_svc.lifecycle import GIVEN_UP, PROMISED, UNFINISHED, UploadState
from store_svc.queries.arrays import BIGINT, SMALLINT, TEXT, array, rows, values_of
from store_svc.records import Claims, StoredError, Upload, UploadSpec
from store_svc.room import wanted
from store_svc.tables import uploads

_ALIVE: Final = (*PROMISED, UploadState.COMMITTED)
_LEFTOVER: Final = uploads.c.state.in_(GIVEN_UP) & uploads.c.cleaned.is_(False)


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
        dataset_uid=TEXT,
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
            dataset_uid=[None if spec.uid == spec.upload_id else spec.uid for spec in specs],
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
    return {row.upload_id: upload_of(row) for row in found}


async def open_uploads_of(connection: AsyncConnection, area: str) -> list[Upload]:
    """All of one client that still take bytes."""
    statement = select(uploads).where(uploads.c.area == area, uploads.c.state == UploadState.OPEN)
    return [upload_of(row) for row in await connection.execute(statement)]


async def promised_uploads(connection: AsyncConnection, stores: Sequence[str]) -> list[Upload]:
    """All whose promised bytes may still come."""
    statement = select(uploads).where(
        uploads.c.store == func.any(array("stores", TEXT)), uploads.c.state.in_(PROMISED)
    )
    return [upload_of(row) for row in await connection.execute(statement, {"stores": list(stores)})]


async def set_written(connection: AsyncConnection, written: Mapping[str, int]) -> None:
    """How much of each was found written: so much less is promised.

    What another transaction is just changing is left out: it will be seen anew. Nobody is waited for, so that
    two of these, or one and a commit, never wait for one another.
    """
    given = rows(upload_id=TEXT, written=BIGINT)
    free = (
        select(uploads.c.upload_id, given.c.written)
        .where(uploads.c.upload_id == given.c.upload_id, uploads.c.state.in_(PROMISED))
        .with_for_update(skip_locked=True, of=uploads)
        .cte("free")
    )
    statement = (
        update(uploads).where(uploads.c.upload_id == free.c.upload_id).values(written_bytes=free.c.written)
    )
    await connection.execute(statement, values_of(upload_id=list(written), written=list(written.values())))


async def uncleaned(connection: AsyncConnection, store: str, limit: int) -> list[Upload]:
    """Those given up of which something may be left on the store."""
    statement = (
        select(uploads).where(uploads.c.store == store, _LEFTOVER).order_by(uploads.c.upload_id).limit(limit)
    )
    return [upload_of(row) for row in await connection.execute(statement)]


async def unfinished(connection: AsyncConnection, store: str) -> list[str]:
    """Those whose commit has begun and not ended."""
    statement = select(uploads.c.upload_id).where(uploads.c.store == store, uploads.c.state.in_(UNFINISHED))
    return list((await connection.execute(statement.order_by(uploads.c.upload_id))).scalars())


async def verified_uploads(connection: AsyncConnection, store: str) -> list[Upload]:
    """All of a store that wait to be placed."""
    statement = select(uploads).where(uploads.c.store == store, uploads.c.state == UploadState.VERIFIED)
    return [upload_of(row) for row in await connection.execute(statement.order_by(uploads.c.begin_time))]


async def unsettled_names(connection: AsyncConnection, store: str, names: Sequence[str]) -> dict[str, str]:
    """Uploads by name that lie at their place, or are about to, and of which the catalogue is not known to
    know.
    """
    placed = uploads.c.state.in_((UploadState.VERIFIED, UploadState.COMMITTED))
    return await _by_name(connection, store, names, placed)


async def leftover_names(connection: AsyncConnection, store: str, names: Sequence[str]) -> dict[str, str]:
    """Uploads by name that were given up and of which something may still lie at their place."""
    return await _by_name(connection, store, names, _LEFTOVER)


async def _by_name(
    connection: AsyncConnection, store: str, names: Sequence[str], which: ColumnElement[bool]
) -> dict[str, str]:
    statement = select(uploads.c.name, uploads.c.upload_id).where(
        uploads.c.store == store, uploads.c.name == func.any(array("names", TEXT)), which
    )
    found = await connection.execute(statement, {"names": list(names)})
    return {name: upload_id for name, upload_id in found}  # noqa: C416 - rows are no pairs to mypy


async def attempts_for(connection: AsyncConnection, store: str, uids: Collection[str]) -> dict[str, str]:
    """Uploads, by the uid of their dataset, that may still write what is kept under that uid, or have
    left something of it to be removed.
    """
    given = func.any(array("uids", TEXT))
    statement = select(func.coalesce(uploads.c.dataset_uid, uploads.c.upload_id), uploads.c.upload_id).where(
        uploads.c.store == store,
        (uploads.c.dataset_uid == given) | (uploads.c.dataset_uid.is_(None) & (uploads.c.upload_id == given)),
        uploads.c.state.in_(_ALIVE) | _LEFTOVER,
    )
    found = await connection.execute(statement, {"uids": list(uids)})
    return {uid: upload_id for uid, upload_id in found}  # noqa: C416 - as above


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


def _unsigned(number: int) -> int:
    return number + (1 << 64) if number < 0 else number


def upload_of(row: Row[Any]) -> Upload:
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
        row.mtime_ns or 0,
        None if row.error is None else StoredError(**row.error),
        row.dataset_uid or "",
    )
