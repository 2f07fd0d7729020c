"""OPEN ingests whose client has not been heard of for a lifetime."""

from __future__ import annotations

from collections.abc import Sequence

from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError, UploadActive
from librarian.messages import error_of
from transfer_svc.lifecycle import IngestEvent
from transfer_svc.outcomes import Decision, Step, may_split
from transfer_svc.receiving import concluding
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk

_EXPIRE = Decision(Step.MOVE, IngestEvent.EXPIRE)


async def expire(desk: Desk, jobs: Sequence[Job]) -> None:
    """The store gives back what it reserved, unless bytes are still coming; then they have more time."""
    errors: dict[str, LibrarianError] = {}
    if desk.store:
        request = store_pb2.AbortUploadsRequest(
            request_id=desk.context.ids.new_uid(),
            store=desk.store,
            upload_ids=[job.ingest_id for job in jobs],
            idle_seconds=max(int(desk.context.lifetime.total_seconds()), 1),
        )
        try:
            service = await desk.context.stores.service_of(desk.store)
            response = await service.AbortUploads(request)
        except LibrarianError as error:
            if may_split(error, len(jobs)):
                raise
            await desk.retry(jobs, error)
            return
        errors = {each.upload_id: error_of(each.error) for each in response.errors}
    desk.context.faults.hit("expire.store_told")
    alive = [job for job in jobs if isinstance(errors.get(job.ingest_id), UploadActive)]
    stuck = [job for job in jobs if job.ingest_id in errors and job not in alive]
    over = [job for job in jobs if job.ingest_id not in errors]
    if alive:
        await concluding.arriving(desk.context, [job for job in alive if job.is_foreign])
        await desk.prolong(alive)
    await concluding.expired(desk.context, [job for job in over if job.is_foreign])
    desk.context.faults.hit("expire.deliveries_told")
    await desk.expired([(job, _EXPIRE) for job in over])
    for job in stuck:
        await desk.retry([job], errors[job.ingest_id])
    desk.context.faults.hit("expire.written")
