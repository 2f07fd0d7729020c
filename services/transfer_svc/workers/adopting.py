"""Bytes of a delivery that lie at their place already: the store hashes them where they lie."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError
from librarian.messages import error_of
from transfer_svc.messages import claim_of
from transfer_svc.origins import Origins
from transfer_svc.outcomes import (
    Bytes,
    Decision,
    after_adopting,
    after_call,
    after_rereading,
    may_split,
)
from transfer_svc.replicas import ReplicaState
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

# Datasets re-read at once.
_READERS: Final = 2


async def adopt(desk: Desk, origins: Origins, jobs: Sequence[Job]) -> None:
    """Each goes on to be published, ends, or is left to be tried again."""
    for algorithm in sorted({job.algorithm for job in jobs}):
        await _adopt(desk, origins, algorithm, [job for job in jobs if job.algorithm == algorithm])
    desk.context.faults.hit("adopt.outcomes_written")


async def _adopt(desk: Desk, origins: Origins, algorithm: str, jobs: Sequence[Job]) -> None:
    request = store_pb2.AdoptTreesRequest(
        store=desk.store,
        names=[job.name for job in jobs],
        algorithm=algorithm,
        uids=[job.uid for job in jobs],
        each_facts_json=[origins.facts_json(job) for job in jobs],
        digests=[common_pb2.Checksum(algorithm=job.algorithm, value=job.digest or b"") for job in jobs],
    )
    trees: dict[str, store_pb2.AdoptedTree] = {}
    try:
        service = await desk.context.stores.service_of(desk.store)
        async for answer in service.AdoptTrees(request):
            trees |= {tree.name: tree for tree in answer.trees}
    except LibrarianError as error:
        if may_split(error, len(jobs)):
            raise
        await desk.decide([(job, after_call(error, len(jobs))) for job in jobs])
        return
    desk.context.faults.hit("adopt.answered")
    unread = [job for job in jobs if _is_unread(job, trees.get(job.name))]
    bad = await _reread(desk, service, unread)
    await desk.decide([(job, bad.get(job.name) or _decision(job, trees.get(job.name))) for job in jobs])


async def _reread(desk: Desk, service: StoreServiceAsyncStub, jobs: Sequence[Job]) -> dict[str, Decision]:
    """What looks as it did when it was adopted was not read: a receipt is for bytes that were. Answers those
    that are not to be published, by name.
    """
    room = asyncio.Semaphore(_READERS)

    async def read(job: Job) -> Decision | None:
        request = store_pb2.VerifyReplicaRequest(store=desk.store, uid=job.uid)
        state, error = ReplicaState.UNSPECIFIED, None
        try:
            async with room:
                async for answer in service.VerifyReplica(request):
                    if answer.HasField("report"):
                        state = ReplicaState(answer.report.state)
        except LibrarianError as trouble:
            error = trouble
        return after_rereading(job.name, state, error)

    decisions = await asyncio.gather(*(read(job) for job in jobs))
    return {job.name: each for job, each in zip(jobs, decisions, strict=True) if each}


def _decision(job: Job, tree: store_pb2.AdoptedTree | None) -> Decision:
    if tree is None or tree.HasField("error"):
        return after_adopting(job.name, job.uid, claim_of(job), None, error_of(tree.error) if tree else None)
    found = Bytes(tree.digest.algorithm, tree.digest.value, tree.size_bytes, tree.member_count)
    return after_adopting(job.name, job.uid, claim_of(job), (tree.uid, found), None)


def _is_unread(job: Job, tree: store_pb2.AdoptedTree | None) -> bool:
    return tree is not None and tree.already and tree.uid == job.uid
