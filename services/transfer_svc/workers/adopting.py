"""Bytes of a delivery that lie at their place already: the store hashes them where they lie."""

from __future__ import annotations

from collections.abc import Sequence

from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError
from librarian.messages import error_of
from transfer_svc.messages import claim_of
from transfer_svc.origins import Origins
from transfer_svc.outcomes import Bytes, Decision, after_adopting, after_call, may_split
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk


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
    await desk.decide([(job, _decision(job, trees.get(job.name))) for job in jobs])


def _decision(job: Job, tree: store_pb2.AdoptedTree | None) -> Decision:
    if tree is None or tree.HasField("error"):
        return after_adopting(job.name, job.uid, claim_of(job), None, error_of(tree.error) if tree else None)
    found = Bytes(tree.digest.algorithm, tree.digest.value, tree.size_bytes, tree.member_count)
    return after_adopting(job.name, job.uid, claim_of(job), (tree.uid, found), None)
