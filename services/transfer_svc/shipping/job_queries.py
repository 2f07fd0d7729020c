"""Every statement about jobs at disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from svckit import leases
from transfer_svc.shipping.lifecycle import JOB, JobEvent, JobState
from transfer_svc.shipping.tables import disk_jobs
from transfer_svc.shipping.values import JOB_COLUMNS, DiskJob

_COLUMNS: Final = tuple(disk_jobs.c[name] for name in JOB_COLUMNS)
_S = JobState
_OPEN: Final = disk_jobs.c.state.in_([_S.WAITING, _S.RUNNING])


async def insert_job(connection: AsyncConnection, values: Mapping[str, Any]) -> DiskJob | None:
    """A WAITING job; None where one is open at that path."""
    statement = (
        insert(disk_jobs)
        .values(**values, state=JOB.initial)
        .on_conflict_do_nothing(index_elements=["path"], index_where=_OPEN)
        .returning(*_COLUMNS)
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else DiskJob.of(row)


async def open_at(connection: AsyncConnection, path: str) -> DiskJob | None:
    statement = select(*_COLUMNS).where(_OPEN, disk_jobs.c.path == path)
    row = (await connection.execute(statement)).mappings().one_or_none()
    return None if row is None else DiskJob.of(row)


async def fetch(connection: AsyncConnection, job_ids: Sequence[str]) -> list[DiskJob]:
    statement = select(*_COLUMNS).where(disk_jobs.c.job_id.in_(job_ids))
    rows = (await connection.execute(statement)).mappings()
    found = {row["job_id"]: DiskJob.of(row) for row in rows}
    return [found[job_id] for job_id in job_ids if job_id in found]


async def fetch_open(connection: AsyncConnection, limit: int) -> list[DiskJob]:
    """The oldest first."""
    statement = select(*_COLUMNS).where(_OPEN).order_by(disk_jobs.c.create_time).limit(limit)
    return [DiskJob.of(row) for row in (await connection.execute(statement)).mappings()]


def _reached(docks: Sequence[str]) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = []
    for dock in docks:
        root = dock.rstrip("/")
        parts.append(disk_jobs.c.path.startswith(f"{root}/", autoescape=True))
        if root:
            parts.append(disk_jobs.c.path == root)
    return or_(*parts)


async def claim(
    connection: AsyncConnection,
    *,
    docks: Sequence[str],
    limit: int,
    owner: str,
    now: datetime,
    ttl: timedelta,
) -> list[DiskJob]:
    """Claims up to `limit` open jobs at paths at or below these docks; they are RUNNING then."""
    claimed = leases.claim(
        disk_jobs,
        where=and_(_OPEN, _reached(docks)),
        order_by=[disk_jobs.c.create_time],
        limit=limit,
        owner=owner,
        now=now,
        ttl=ttl,
    )
    statement = claimed.values(
        state=JOB.move(_S.WAITING, JobEvent.CLAIM), update_time=now, note="", error_json=""
    )
    return [DiskJob.of(row) for row in (await connection.execute(statement)).mappings()]


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When the first of those put off may be tried again."""
    statement = select(func.min(disk_jobs.c.not_before)).where(
        disk_jobs.c.state == _S.WAITING, disk_jobs.c.not_before.is_not(None)
    )
    found: datetime | None = (await connection.execute(statement)).scalar_one()
    return found


async def extend(
    connection: AsyncConnection, jobs: Sequence[DiskJob], *, now: datetime, ttl: timedelta
) -> set[str]:
    """Ids of those still held and not cancelled."""
    held = leases.extend(disk_jobs, _leases(jobs), now=now, ttl=ttl).where(disk_jobs.c.state == _S.RUNNING)
    return set((await connection.execute(held)).scalars())


async def tell(connection: AsyncConnection, job: DiskJob, values: Mapping[str, Any]) -> bool:
    """Progress, under the lease; whether it is still held and RUNNING."""
    statement = update(disk_jobs).where(_held(job), disk_jobs.c.state == _S.RUNNING).values(**values)
    return (await connection.execute(statement)).rowcount == 1


async def end(connection: AsyncConnection, job: DiskJob, event: JobEvent, values: Mapping[str, Any]) -> bool:
    """Moves a RUNNING job on and gives its lease up; whether it was still held."""
    statement = (
        update(disk_jobs)
        .where(_held(job), disk_jobs.c.state == _S.RUNNING)
        .values(
            **{"not_before": None, **values},
            state=JOB.move(_S.RUNNING, event),
            lease_owner=None,
            lease_until=None,
        )
    )
    return (await connection.execute(statement)).rowcount == 1


async def cancel(connection: AsyncConnection, job_ids: Sequence[str], now: datetime) -> None:
    """Those that are open. Whoever is at one notices at its next heartbeat or word of progress."""
    await connection.execute(
        update(disk_jobs)
        .where(_OPEN, disk_jobs.c.job_id.in_(job_ids))
        .values(state=JOB.move(_S.RUNNING, JobEvent.CANCEL), update_time=now)
    )


async def release(connection: AsyncConnection, jobs: Sequence[DiskJob]) -> None:
    """Left at a stop: another may take them up at once."""
    await connection.execute(leases.release(disk_jobs, _leases(jobs), reset_attempts=True))


def _leases(jobs: Sequence[DiskJob]) -> list[leases.Lease]:
    return [leases.Lease(job.job_id, job.lease_fence) for job in jobs]


def _held(job: DiskJob) -> ColumnElement[bool]:
    return and_(disk_jobs.c.job_id == job.job_id, leases.fenced(disk_jobs, job.lease_fence))
