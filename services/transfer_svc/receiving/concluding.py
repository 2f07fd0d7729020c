"""What the end of an upload means for its deliveries: a receipt, or a reason. Run by the workers, before the
store is told how the upload ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from librarian.errors import LibrarianError, Unavailable, Withdrawn
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Context
from transfer_svc.lifecycle import IngestState
from transfer_svc.messages import error_to_json
from transfer_svc.receiving import work_queries
from transfer_svc.receiving.judging import Content, Held, Here, best_copy
from transfer_svc.receiving.lifecycle import DeliveryEvent, DeliveryState
from transfer_svc.receiving.receipts import look_up, sign_receipts
from transfer_svc.receiving.values import Ended
from transfer_svc.values import Job


async def conclude(
    context: Context, site_keys: SiteKeys, store: str, jobs: Sequence[Job]
) -> dict[str, LibrarianError]:
    """Of foreign jobs of one store that have ended. Doing it again is harmless. Answers those, by upload,
    that cannot be receipted now. Raises Unavailable where the catalogue or the database does not answer.
    """
    published = [job for job in jobs if job.state == IngestState.PUBLISHED]
    ended = [_ended_badly(job) for job in jobs if job.state != IngestState.PUBLISHED]
    unsure: dict[str, LibrarianError] = {}
    if published:
        receipted, unsure = await _receipted(context, site_keys, store, published)
        ended += receipted
    context.faults.hit("receipt.signed")
    async with context.database.hot() as connection:
        await work_queries.conclude(
            connection, ended, channel=context.channels.final, now=context.clock.now()
        )
    context.faults.hit("receipt.written")
    return unsure


async def arriving(context: Context, jobs: Sequence[Job]) -> None:
    """Bytes of these are still coming, the store says."""
    if jobs:
        uploads = [job.ingest_id for job in jobs]
        async with context.database.hot() as connection:
            await work_queries.advance(connection, DeliveryEvent.ARRIVE, uploads, context.clock.now())


async def expired(context: Context, jobs: Sequence[Job]) -> None:
    """The store has given these back: nothing came for a lifetime."""
    if not jobs:
        return
    error = error_to_json(Withdrawn("nothing was heard of it for too long", remedy="offer it again"))
    ended = [Ended(job.ingest_id, DeliveryState.EXPIRED, error_json=error) for job in jobs]
    async with context.database.hot() as connection:
        await work_queries.conclude(
            connection, ended, channel=context.channels.final, now=context.clock.now()
        )


async def _receipted(
    context: Context, site_keys: SiteKeys, store: str, jobs: Sequence[Job]
) -> tuple[list[Ended], dict[str, LibrarianError]]:
    """Only what the catalogue has in good order is receipted."""
    known = await look_up(context, sorted({job.dataset_uid for job in jobs}), [], store=store)
    signable: list[tuple[Job, Here]] = []
    ended: list[Ended] = []
    unsure: dict[str, LibrarianError] = {}
    for job in jobs:
        held = known.by_uid.get(job.dataset_uid)
        here = _here(job, held)
        if isinstance(here, Here):
            signable.append((job, here))
        elif held is not None and held.silent:
            unsure[job.ingest_id] = here
        else:
            ended.append(Ended(job.ingest_id, DeliveryState.FAILED, error_json=error_to_json(here)))
    statements = [(job.uid, _content(job), here) for job, here in signable]
    receipts = await asyncio.to_thread(sign_receipts, site_keys, context.clock, statements)
    ended += [
        Ended(job.ingest_id, DeliveryState.RECEIPTED, receipt=receipt)
        for (job, _), receipt in zip(signable, receipts, strict=True)
    ]
    return ended, unsure


def _here(job: Job, held: Held | None) -> Here | LibrarianError:
    """Where it is to be receipted: on the store it was brought to, or where the same bytes were before."""
    theirs = "" if job.dataset_uid == job.uid else job.dataset_uid
    if held is not None:
        copy = best_copy(held.copies, only=job.store) or best_copy(held.copies)
        if copy is not None and (theirs or copy.store == job.store):
            return Here(copy, theirs)
    return Unavailable(
        f"{job.name} was published, and its copy is not in good order any more",
        remedy="`librarian verify` it here; it can be offered again",
        name=job.name,
    )


def _ended_badly(job: Job) -> Ended:
    if job.state == IngestState.FAILED:
        return Ended(job.ingest_id, DeliveryState.FAILED, error_json=job.error_json)
    return Ended(
        job.ingest_id, DeliveryState.EXPIRED, error_json=error_to_json(Withdrawn("it was given up here"))
    )


def _content(job: Job) -> Content:
    return Content(
        job.name,
        job.kind,
        job.algorithm,
        job.digest or b"",
        job.claimed_bytes or 0,
        job.member_count or 0,
    )
