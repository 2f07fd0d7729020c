"""Jobs at disks: asked for, waited for, stopped. What they do is in `docks`."""

from __future__ import annotations

import asyncio
import os.path
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.api.shipment.v1 import shipment_pb2 as pb
from librarian.errors import DiskBusy, InvalidInput, JobNotFound
from librarian.names import printable
from svckit.auth import Caller
from svckit.notifications import notify
from transfer_svc.context import Context
from transfer_svc.shipping import disk_queries, job_queries
from transfer_svc.shipping.lifecycle import JobKind
from transfer_svc.shipping.messages import job_to_proto
from transfer_svc.shipping.values import DiskJob
from transfer_svc.waiting import Waiting, first_of

_MOST_JOBS: Final = 100
_LONGEST_MS: Final = 25_000
# Progress is not announced; who watches it looks this often.
_LOOK_SECONDS: Final = 1.0


def check_path(path: str) -> str:
    """An absolute path, as a worker sees it. Raises InvalidInput."""
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput(
            f"{printable(path)!r} is no absolute path", remedy="say where the disk is mounted", field="path"
        )
    return os.path.normpath(path)


async def ask(
    context: Context,
    connection: AsyncConnection,
    caller: Caller,
    *,
    kind: JobKind,
    path: str,
    request: Message,
    disk_id: str = "",
    shipment_id: str = "",
) -> DiskJob:
    """Writes a job down, in the caller's transaction; one of the same kind that is open at the path is it.
    Raises DiskBusy where another kind is, InvalidInput.
    """
    path = check_path(path)
    now = context.clock.now()
    job = await job_queries.insert_job(
        connection,
        {
            "job_id": context.ids.new_uid(),
            "kind": kind,
            "path": path,
            "disk_id": disk_id,
            "shipment_id": shipment_id,
            "request": request.SerializeToString(deterministic=True),
            "who": caller.subject,
            "create_time": now,
            "update_time": now,
        },
    )
    if job is None:
        job = await job_queries.open_at(connection, path)
        if job is None or (job.kind, job.shipment_id) != (kind, shipment_id or job.shipment_id):
            raise DiskBusy(f"something else is being done at {printable(path)}", path=printable(path))
    await notify(connection, context.channels.docks)
    return job


async def wait_jobs(
    context: Context, waiting: Waiting, stopping: asyncio.Event, request: pb.WaitJobsRequest
) -> list[pb.Job]:
    """As they stand, once one has changed or the time is over. Raises JobNotFound, InvalidInput."""
    ids = list(request.job_ids)
    if len(ids) > _MOST_JOBS:
        raise InvalidInput(f"{len(ids)} jobs are too many at once", remedy=f"ask for {_MOST_JOBS} at most")
    until = context.clock.monotonic() + min(max(request.timeout_ms, 0), _LONGEST_MS) / 1000
    first: list[DiskJob] | None = None
    with waiting.watching(ids) as heard:
        while True:
            async with context.database.transaction() as connection:
                found = await _fetch(connection, ids)
                labels = await disk_queries.labels(connection, [job.disk_id for job in found])
            left = until - context.clock.monotonic()
            if left <= 0 or stopping.is_set() or (first is not None and found != first):
                return [job_to_proto(job, labels.get(job.disk_id, "")) for job in found]
            first = first or found
            heard.clear()
            await first_of(heard, stopping, seconds=min(left, _LOOK_SECONDS))


async def cancel_jobs(context: Context, ids: Sequence[str]) -> list[pb.Job]:
    """Raises JobNotFound."""
    async with context.database.transaction() as connection:
        await job_queries.cancel(connection, ids, context.clock.now())
        await notify(connection, context.channels.docks)
        return [job_to_proto(job) for job in await _fetch(connection, ids)]


async def _fetch(connection: AsyncConnection, ids: Sequence[str]) -> list[DiskJob]:
    if not ids:
        return await job_queries.fetch_open(connection, _MOST_JOBS)
    found = await job_queries.fetch(connection, ids)
    if missing := set(ids) - {job.job_id for job in found}:
        raise JobNotFound(f"there is no job {printable(min(missing))[:80]}")
    return found
