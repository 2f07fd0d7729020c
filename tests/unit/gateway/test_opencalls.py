"""The end of a token ends its calls, and only those, and leaves the task as it was."""

from __future__ import annotations

import asyncio

import pytest

from gateway.opencalls import OpenCalls
from librarian.errors import TokenExpired, TokenRevoked


async def test_a_call_raises_the_error_of_its_token() -> None:
    calls = OpenCalls()
    inside = asyncio.Event()

    async def call(token_id: str) -> str:
        try:
            with calls.watch(token_id):
                inside.set()
                await asyncio.Event().wait()
        except TokenRevoked:
            # The task itself is not cancelled: it can still tell its client.
            await asyncio.sleep(0)
            return "told"
        return "over"

    task = asyncio.create_task(call("a"))
    other = asyncio.create_task(call("b"))
    await inside.wait()
    await asyncio.sleep(0)
    assert sorted(calls.tokens()) == ["a", "b"]
    assert calls.end("a", TokenRevoked("gone")) == 1
    assert await task == "told"
    assert task.cancelling() == 0
    assert calls.tokens() == ["b"]
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert calls.tokens() == []


async def test_the_first_reason_stands() -> None:
    calls = OpenCalls()

    async def call() -> None:
        with calls.watch("a"):
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert calls.end("a", TokenExpired("first")) == 1
    assert calls.end("a", TokenRevoked("second")) == 0
    with pytest.raises(TokenExpired):
        await task


async def test_a_call_that_ends_by_itself_is_forgotten() -> None:
    calls = OpenCalls()
    with calls.watch("a"), calls.watch("a"):
        assert calls.tokens() == ["a"]
    assert calls.tokens() == []
    assert calls.end("a", TokenRevoked("too late")) == 0
