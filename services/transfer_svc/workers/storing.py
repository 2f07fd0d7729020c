"""COMMITTING -> STORED: the origin is signed, and the store seals, verifies and moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.errors import InternalError, LibrarianError
from transfer_svc import queries, work_queries
from transfer_svc.messages import bytes_found, claim_of, error_in, live_dataset
from transfer_svc.origins import Origins
from transfer_svc.outcomes import (
    Decision,
    LiveDataset,
    Step,
    UploadState,
    after_asking,
    after_call,
    after_commit,
    may_split,
)
from transfer_svc.receiving.lifecycle import DeliveryEvent
from transfer_svc.receiving.work_queries import advance
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk

# How long one call may wait for the slowest of a batch: short, so that the others are published meanwhile
# and those who watch see progress.
ROUND_MS: Final = 1000

# A path may be held by what is just being registered: after so many tries that is not it.
_PATIENCE: Final = 10

Asked = list[tuple[Job, LibrarianError]]


async def sign_origins(desk: Desk, origins: Origins, jobs: Sequence[Job]) -> None:
    """Each origin is made once and written down before anyone is told of it."""
    unsigned = [job for job in jobs if job.origin is None]
    if not unsigned:
        return
    for job in unsigned:
        job.origin = origins.signed(
            uid=job.ingest_id,
            name=job.name,
            kind=job.kind,
            content=claim_of(job),
            uploader=job.uploader,
            create_time_us=job.create_time_us,
            traceparent=job.traceparent,
        )
    async with desk.context.database.hot() as connection:
        held = await work_queries.keep_origins(connection, unsigned)
    desk.keep_only(held, [job.ingest_id for job in unsigned])
    desk.context.faults.hit("store.origins_kept")


async def commit_round(desk: Desk, origins: Origins, jobs: Sequence[Job]) -> Asked:
    """One call to the store and what it means. Answers those whose path is taken: ask the catalogue."""
    request = store_pb2.CommitUploadsRequest(
        request_id=desk.context.ids.new_uid(),
        store=desk.store,
        items=[_item(job, origins) for job in jobs],
        timeout_ms=ROUND_MS,
    )
    try:
        service = await desk.context.stores.service_of(desk.store)
        response = await service.CommitUploads(request)
    except LibrarianError as error:
        if may_split(error, len(jobs)):
            raise
        await desk.decide([(job, after_call(error, len(jobs))) for job in jobs])
        return []
    desk.context.faults.hit("store.commit_answered")
    statuses = {status.upload_id: status for status in response.statuses}
    decided = [(job, _decision(job, statuses.get(job.ingest_id))) for job in jobs]
    await desk.decide(decided)
    waiting = [(job, statuses[job.ingest_id]) for job, d in decided if d.step is Step.WAIT]
    await _note_progress(desk, waiting)
    desk.context.faults.hit("store.outcomes_written")
    return [
        (job, decision.error) for job, decision in decided if decision.step is Step.ASK and decision.error
    ]


async def ask_catalog(desk: Desk, asked: Asked) -> None:
    """Whose are the paths that are taken? Decides on these ingests one way or another."""
    holders = {error.metadata.get("upload_id", "") for _, error in asked}
    # Before the catalogue: one that ends in between has told it.
    async with desk.context.database.hot() as connection:
        under_way = await queries.ingests_under_way(connection, holders)
    names = [job.name for job, _ in asked]
    try:
        response = await desk.context.catalog.BatchGetDatasets(
            catalog_pb2.BatchGetDatasetsRequest(names=names)
        )
    except LibrarianError as error:
        await desk.retry([job for job, _ in asked], error)
        return
    live: dict[str, LiveDataset] = {dataset.name: live_dataset(dataset) for dataset in response.datasets}
    decided = [
        (
            job,
            after_asking(
                job.name,
                job.kind,
                claim_of(job),
                live.get(job.name),
                error,
                may_be_published=error.metadata.get("upload_id", "") in under_way
                or job.attempt_count < _PATIENCE,
                target_uid=job.target_uid,
                store=desk.store,
            ),
        )
        for job, error in asked
    ]
    for job, decision in decided:
        # Known by what was uploaded no more: should this be forgotten, the store says the same again.
        job.upload_void |= decision.step is Step.ADOPT
    await desk.decide(decided)
    desk.context.faults.hit("store.catalog_asked")


def _item(job: Job, origins: Origins) -> store_pb2.CommitUploadItem:
    return store_pb2.CommitUploadItem(
        upload_id=job.ingest_id,
        digest=common_pb2.Checksum(algorithm=job.algorithm, value=job.digest or b""),
        size_bytes=job.claimed_bytes or 0,
        member_count=job.member_count or 0,
        facts_json=origins.facts_json(job),
    )


def _decision(job: Job, status: store_pb2.CommitUploadStatus | None) -> Decision:
    if status is None:
        return Decision(Step.RETRY, error=InternalError("the store said nothing about this upload"))
    try:
        state = UploadState(status.state)
    except ValueError:
        state = UploadState.UNSPECIFIED
    return after_commit(state, claim_of(job), bytes_found(status), error_in(status.error))


async def _note_progress(desk: Desk, waiting: Sequence[tuple[Job, store_pb2.CommitUploadStatus]]) -> None:
    moved = [
        (job, status.verified_bytes) for job, status in waiting if status.verified_bytes > job.verified_bytes
    ]
    if not moved:
        return
    # The first of it is news of the delivery, too.
    begun = [job.ingest_id for job, _ in moved if job.is_foreign and not job.verified_bytes]
    for job, verified in moved:
        job.verified_bytes = verified
    jobs, verified_bytes = zip(*moved, strict=True)
    async with desk.context.database.hot() as connection:
        await work_queries.note_progress(connection, jobs, verified_bytes, desk.context.clock.now())
        if begun:
            await advance(connection, DeliveryEvent.VERIFY, begun, desk.context.clock.now())
