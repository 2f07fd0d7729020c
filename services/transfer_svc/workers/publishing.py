"""STORED -> PUBLISHED: members of directories go ahead, then the catalogue makes datasets visible."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.errors import LibrarianError
from librarian.manifests import DatasetKind
from transfer_svc.members import send_members
from transfer_svc.messages import error_in
from transfer_svc.outcomes import Decision, PublishOutcome, Step, after_call, after_publish, may_split
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk

# Directories whose member lists are on their way at once.
_MEMBER_STREAMS: Final = 4


async def publish(desk: Desk, site: str, jobs: Sequence[Job]) -> None:
    """Each ends PUBLISHED or FAILED, or is left to be tried again."""
    ready = await _with_members(desk, jobs)
    if not ready:
        return
    desk.context.faults.hit("publish.members_sent")
    request = catalog_pb2.PublishDatasetsRequest(
        request_id=desk.context.ids.new_uid(),
        datasets=_columns(ready, site),
        stores=[desk.store] * len(ready),
    )
    try:
        response = await desk.context.catalog.PublishDatasets(request)
    except LibrarianError as error:
        if may_split(error, len(ready)):
            raise
        await desk.decide([(job, after_call(error, len(ready))) for job in ready])
        return
    desk.context.faults.hit("publish.answered")
    verdicts = {verdict.index: verdict for verdict in response.verdicts}
    await desk.decide([(job, _decision(verdicts.get(index))) for index, job in enumerate(ready)])
    desk.context.faults.hit("publish.outcomes_written")


async def _with_members(desk: Desk, jobs: Sequence[Job]) -> list[Job]:
    """Those whose members the catalogue has; a directory whose list got stuck does not hold up others."""
    directories = [job for job in jobs if job.kind == DatasetKind.DIRECTORY]
    if not directories:
        return list(jobs)
    room = asyncio.Semaphore(_MEMBER_STREAMS)

    async def send(job: Job) -> LibrarianError | None:
        async with room:
            try:
                service = await desk.context.stores.service_of(desk.store)
                await send_members(desk.context.catalog, service, store=desk.store, uid=job.uid)
            except LibrarianError as error:
                return error
            return None

    results = await asyncio.gather(*(send(job) for job in directories))
    stuck = {job.ingest_id: error for job, error in zip(directories, results, strict=True) if error}
    await desk.decide(
        [
            (job, Decision(Step.RETRY, error=stuck[job.ingest_id]))
            for job in directories
            if job.ingest_id in stuck
        ]
    )
    return [job for job in jobs if job.ingest_id in desk.jobs]


def _columns(jobs: Sequence[Job], site: str) -> catalog_pb2.DatasetColumns:
    return catalog_pb2.DatasetColumns(
        uid=[job.uid for job in jobs],
        name=[job.name for job in jobs],
        kind=[common_pb2.DatasetKind.ValueType(job.kind) for job in jobs],
        digest_algorithm=[job.algorithm for job in jobs],
        digest=[job.digest or b"" for job in jobs],
        size_bytes=[job.claimed_bytes or 0 for job in jobs],
        member_count=[job.member_count or 0 for job in jobs],
        uploader=[job.uploader for job in jobs],
        create_time_us=[job.create_time_us for job in jobs],
        tags_json=[job.tags_json for job in jobs],
        origin=[job.origin or b"" for job in jobs],
        traceparent=[job.traceparent for job in jobs],
        site=[job.origin_site or site for job in jobs],
    )


def _decision(verdict: catalog_pb2.PublishVerdict | None) -> Decision:
    if verdict is None:
        return after_publish(PublishOutcome.UNSPECIFIED, "", None)
    try:
        outcome = PublishOutcome(verdict.outcome)
    except ValueError:
        outcome = PublishOutcome.UNSPECIFIED
    return after_publish(outcome, verdict.uid, error_in(verdict.error))
