"""Telling the store how an ingest ended, until it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError, UploadConfirmed, UploadNotFound
from librarian.messages import error_of
from transfer_svc.lifecycle import IngestState
from transfer_svc.outcomes import may_split
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk

# The store keeps bytes that were given up, or knows nothing of bytes that are catalogued: telling it again
# does not help. `verify` and `store scan` say what is there.
_BEYOND_HELP: Final = (UploadNotFound, UploadConfirmed)


async def settle(desk: Desk, jobs: Sequence[Job]) -> None:
    """The bytes of a dataset that stays are confirmed; all others are given up."""
    stay = [job for job in jobs if _stays(job)]
    go = [job for job in jobs if not _stays(job)]
    if stay:
        await _tell(desk, stay, keep=True)
    if go:
        await _tell(desk, go, keep=False)


def _stays(job: Job) -> bool:
    """What was uploaded is a copy of the live dataset: a new one, or another of one there was already."""
    return job.state == IngestState.PUBLISHED and job.dataset_uid == job.uid and not job.upload_void


async def _tell(desk: Desk, jobs: Sequence[Job], *, keep: bool) -> None:
    ids = [job.ingest_id for job in jobs]
    request_id = desk.context.ids.new_uid()
    try:
        service = await desk.context.stores.service_of(desk.store)
        if keep:
            confirm = store_pb2.ConfirmUploadsRequest(request_id=request_id, store=desk.store, upload_ids=ids)
            told = list((await service.ConfirmUploads(confirm)).errors)
        else:
            abort = store_pb2.AbortUploadsRequest(request_id=request_id, store=desk.store, upload_ids=ids)
            told = list((await service.AbortUploads(abort)).errors)
    except LibrarianError as error:
        if may_split(error, len(jobs)):
            raise
        await _later(desk, jobs, error)
        return
    desk.context.faults.hit("settle.store_told")
    refused = {each.upload_id: error_of(each.error) for each in told}
    for uid, refusal in refused.items():
        if isinstance(refusal, _BEYOND_HELP):
            desk.context.logger.error(
                "store_disagrees", store=desk.store, ingest_id=uid, reason=refusal.reason, kept=keep
            )
    open_still = {uid: refusal for uid, refusal in refused.items() if not isinstance(refusal, _BEYOND_HELP)}
    await desk.settled([job for job in jobs if job.ingest_id not in open_still])
    stuck = [job for job in jobs if job.ingest_id in open_still]
    if stuck:
        await _later(desk, stuck, next(iter(open_still.values())))
    desk.context.faults.hit("settle.written")


async def _later(desk: Desk, jobs: Sequence[Job], error: LibrarianError) -> None:
    desk.context.logger.warning(
        "settle_failed", store=desk.store, count=len(jobs), reason=error.reason, message=error.message
    )
    await desk.retry(jobs, error)
