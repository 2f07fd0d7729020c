"""Answers of a long piece of work as a stream that is never silent for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar

M = TypeVar("M")
Tell = Callable[[M], Awaitable[None]]

# Proxies cut streams that are idle for a minute.
HEARTBEAT_SECONDS: Final = 10.0
# Answers made ahead of a slow reader.
_AHEAD: Final = 16


async def streamed(
    work: Callable[[Tell[M]], Awaitable[None]],
    heartbeat: Callable[[], M],
    *,
    seconds: float = HEARTBEAT_SECONDS,
) -> AsyncGenerator[M, None]:
    """What `work` tells, in order, and what `heartbeat` makes whenever it has told nothing for `seconds`.

    Work waits for a slow reader, and is cancelled when the reader goes. Its errors end the stream.
    """
    told: asyncio.Queue[M | None] = asyncio.Queue(_AHEAD)
    failures: list[Exception] = []

    async def run() -> None:
        try:
            await work(told.put)
        except Exception as error:  # noqa: BLE001 - raised to the reader, after what was told before
            failures.append(error)
        # Not where it was cancelled: nobody reads any more, and the queue may be full.
        await told.put(None)

    task = asyncio.create_task(run())
    try:
        while True:
            try:
                async with asyncio.timeout(seconds):
                    answer = await told.get()
            except TimeoutError:
                if task.done():
                    # Cancelled by someone else than the reader.
                    break
                yield heartbeat()
                continue
            if answer is None:
                break
            yield answer
        await task
        if failures:
            raise failures[0]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
