"""Waiting for something another process or task does: the one place of the tests that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# A wait that promises nothing about time: the machine may be busy with much else.
PATIENCE_SECONDS = 90.0


async def eventually(
    check: Callable[[], T | Awaitable[T]],
    *,
    timeout: float = PATIENCE_SECONDS,  # noqa: ASYNC109 the point
    what: str = "",
) -> T:
    """The first true value of `check`, a plain or a coroutine function; AssertionError after `timeout` s.

    An AssertionError inside `check` means "not yet"; the last one is told in the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        problem: AssertionError | None = None
        try:
            result = check()
            value: T = await result if inspect.isawaitable(result) else result  # type: ignore[assignment]
            if value:
                return value
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or check}") from problem
        await asyncio.sleep(0.02)


def eventually_blocking(check: Callable[[], T], *, timeout: float = PATIENCE_SECONDS, what: str = "") -> T:
    """As `eventually`, for tests without an event loop."""
    return asyncio.run(eventually(check, timeout=timeout, what=what))
