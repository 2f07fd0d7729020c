"""One batch from wherever it stands to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from transfer_svc.lifecycle import FINAL, IngestState
from transfer_svc.origins import Origins
from transfer_svc.workers.adopting import adopt
from transfer_svc.workers.desk import Desk
from transfer_svc.workers.ending import end
from transfer_svc.workers.expiring import expire
from transfer_svc.workers.publishing import publish
from transfer_svc.workers.storing import ask_catalog, commit_round, sign_origins

# A store that says "not yet" sooner than it was allowed to (s) is not asked more often than this.
_SHORTEST_ROUND: Final = 0.2


async def carry(desk: Desk, origins: Origins, stopping: asyncio.Event) -> None:
    """Goes round until nothing is left on the desk: those that are through are published and settled while
    the store still reads the others. A stop gives the rest back.
    """
    if opened := desk.in_state(IngestState.OPEN):
        await expire(desk, opened)
    await sign_origins(desk, origins, desk.in_state(IngestState.COMMITTING))
    while desk.jobs:
        started = desk.context.clock.monotonic()
        asked = []
        committing = [job for job in desk.in_state(IngestState.COMMITTING) if not job.upload_void]
        if committing:
            asked = await commit_round(desk, origins, committing)
        elif lying := desk.in_state(IngestState.COMMITTING):
            # Last: reading all there is may take long.
            await adopt(desk, origins, lying)
        if stored := desk.in_state(IngestState.STORED):
            await publish(desk, origins.site, stored)
        # After publishing: who holds the path may well be in this very batch.
        if asked:
            await ask_catalog(desk, asked)
        if ended := desk.in_state(*FINAL):
            await end(desk, origins, ended)
        if desk.jobs:
            left = started + _SHORTEST_ROUND - desk.context.clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, 0)):
                    await stopping.wait()
        if stopping.is_set():
            await desk.release()
