"""When the end of a client's stream is handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.forward import _until_end


async def messages(*given: bytes) -> AsyncIterator[bytes]:
    for message in given:
        yield message


async def test_every_message_then_the_end() -> None:
    assert [message async for message in _until_end(messages(b"a", b"", b"c"))] == [b"a", b"", b"c"]


async def test_an_end_that_a_cancellation_follows_is_none() -> None:
    """A broken client is told of in two steps, some turns of the loop apart: its stream ends, then the
    call is cancelled. The service must hear of the second only.
    """

    async def take() -> str:
        async for _ in _until_end(messages(b"a")):
            pass
        return "complete"

    task = asyncio.create_task(take())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
