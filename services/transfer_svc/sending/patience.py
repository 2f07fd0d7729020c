"""Calls inside the site, made again while a service restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from librarian.errors import DeadlineExceeded, Unavailable
from transfer_svc.backoff import TROUBLE
from transfer_svc.sending.means import Means

T = TypeVar("T")


async def patiently(means: Means, call: Callable[[], Awaitable[T]]) -> T:
    """Its answer, however long the service is away."""
    attempt = 0
    while True:
        try:
            return await call()
        except (Unavailable, DeadlineExceeded) as error:
            attempt += 1
            means.context.logger.warning("service_away", reason=error.reason, message=error.message)
            await asyncio.sleep(TROUBLE.delay(attempt, means.rand()))
