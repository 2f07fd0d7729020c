"""Ingests that have ended: those who brought them are told, then the store."""

from __future__ import annotations

from collections.abc import Sequence

from librarian.errors import LibrarianError
from transfer_svc.origins import Origins
from transfer_svc.outcomes import Decision, Step
from transfer_svc.receiving.concluding import conclude
from transfer_svc.values import Job
from transfer_svc.workers.desk import Desk
from transfer_svc.workers.settling import settle


async def end(desk: Desk, origins: Origins, jobs: Sequence[Job]) -> None:
    """Clients are told by the writing of the end itself; of deliveries a receipt is signed. Those it could
    not be signed for are come back to, and the store is not told before.
    """
    foreign = [job for job in jobs if job.is_foreign]
    if foreign:
        try:
            unsure = await conclude(desk.context, origins.site_keys, desk.store, foreign)
        except LibrarianError as error:
            unsure = dict.fromkeys((job.ingest_id for job in foreign), error)
        if unsure:
            # Where they are, with what keeps them there.
            await desk.decide(
                [
                    (job, Decision(Step.RETRY, error=unsure[job.ingest_id]))
                    for job in foreign
                    if job.ingest_id in unsure
                ]
            )
    left = [job for job in jobs if job.ingest_id in desk.jobs]
    if left:
        await settle(desk, left)
