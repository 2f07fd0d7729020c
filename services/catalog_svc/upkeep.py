"""What the catalog does by itself: folding sums and sweeping what nobody came back for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from librarian.errors import Unavailable
from svckit.idempotency import sweep

from .context import Context
from .queries import members, sums, upkeep
from .summing import FOLD_SECONDS, fold_all
from .tables import idempotency

SWEEP_SECONDS = 600.0
RESERVATIONS_KEPT = timedelta(days=7)
MEMBERS_KEPT = timedelta(days=1)
SUMS_KEPT = timedelta(days=30)
_BATCH = 10_000


async def keep_sums(context: Context) -> None:
    """Folds for ever: every few seconds, and when somebody waits for it."""
    await _repeat(context, "sums_not_folded", fold_all, FOLD_SECONDS, context.wants_sums)


async def keep_clean(context: Context) -> None:
    """Sweeps for ever."""
    await _repeat(context, "sweep_failed", sweep_all, SWEEP_SECONDS, asyncio.Event())


async def sweep_all(context: Context) -> None:
    """Everything whose time has passed, in batches of one short transaction each."""
    for sweep_some in (_sweep_reservations, _sweep_members, _sweep_idempotency):
        more = True
        while more:
            more = await sweep_some(context)
    async with context.database.hot() as connection:
        await sums.drop_unasked(connection, _before(context, SUMS_KEPT))


async def _repeat(
    context: Context,
    trouble: str,
    work: Callable[[Context], Awaitable[None]],
    seconds: float,
    wake: asyncio.Event,
) -> None:
    """A database that is away for a while is waited for; anything else stops the service."""
    while True:
        wake.clear()
        try:
            await work(context)
        except Unavailable as error:
            context.logger.warning(trouble, error=error.message)
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            continue


async def _sweep_reservations(context: Context) -> bool:
    async with context.database.hot() as connection:
        swept = await upkeep.sweep_reservations(connection, _before(context, RESERVATIONS_KEPT), _BATCH)
    return swept == _BATCH


async def _sweep_members(context: Context) -> bool:
    """Drops a part of the members of one dataset that was never published; whether there was one."""
    async with context.database.hot() as connection, connection.transaction():
        uid = await upkeep.stale_pending(connection, _before(context, MEMBERS_KEPT))
        if uid is None:
            return False
        if await upkeep.drop_members(connection, uid, _BATCH) < _BATCH:
            await members.end_pending(connection, [uid])
            context.logger.info("unpublished_members_swept", dataset_uid=uid)
        return True


async def _sweep_idempotency(context: Context) -> bool:
    async with context.database.transaction() as connection:
        return await sweep(connection, idempotency, now=context.clock.now(), limit=_BATCH) == _BATCH


def _before(context: Context, kept: timedelta) -> int:
    return context.now_us() - kept // timedelta(microseconds=1)
