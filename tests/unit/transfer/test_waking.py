"""Who is woken when: waits, alarms, and streams that are never silent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from librarian.errors import StoreDisabled
from transfer_svc.streaming import Tell, streamed
from transfer_svc.waiting import Waiting
from transfer_svc.workers.alarm import Alarm

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_only_those_named_are_woken() -> None:
    waiting = Waiting()
    with waiting.watching(["a", "b"]) as first, waiting.watching(["b"]) as second:
        waiting.hear("a")
        assert first.is_set()
        assert not second.is_set()
        first.clear()
        waiting.hear("x,b")
        assert first.is_set()
        assert second.is_set()


def test_all_are_woken_after_a_lost_connection() -> None:
    waiting = Waiting()
    with waiting.watching(["a"]) as first, waiting.watching(["b"]) as second:
        waiting.hear("")
        assert first.is_set()
        assert second.is_set()


def test_nothing_is_kept_of_waits_that_ended() -> None:
    waiting = Waiting()
    with waiting.watching(["a", "a", "b"]):
        pass
    assert waiting._events == {}


def test_an_alarm_tells_the_next_time_and_forgets_the_past() -> None:
    alarm = Alarm()
    assert alarm.wait(NOW, 5.0) == 5.0
    alarm.set(NOW + timedelta(seconds=3))
    alarm.set(NOW + timedelta(seconds=1))
    alarm.set(NOW + timedelta(seconds=1))
    assert alarm.wait(NOW, 5.0) == pytest.approx(1.0, abs=0.06)
    assert alarm.wait(NOW + timedelta(seconds=2), 5.0) == pytest.approx(1.0, abs=0.06)
    assert alarm.wait(NOW + timedelta(seconds=9), 5.0) == 5.0
    assert alarm.wait(NOW, 0.5) == 0.5


def test_alarms_never_ring_early() -> None:
    alarm = Alarm()
    for milliseconds in range(0, 1000, 7):
        due = NOW + timedelta(milliseconds=milliseconds)
        alarm.set(due)
        left = alarm.wait(NOW, 100.0)
        assert NOW + timedelta(seconds=left) >= due - timedelta(microseconds=10)
        alarm.wait(NOW + timedelta(seconds=10), 100.0)


def test_a_thousand_alarms_are_few() -> None:
    alarm = Alarm()
    for number in range(1000):
        alarm.set(NOW + timedelta(microseconds=number))
    assert len(alarm._ticks) <= 2


async def test_silence_is_filled_with_heartbeats() -> None:
    go_on = asyncio.Event()

    async def work(tell: Tell[str]) -> None:
        await tell("first")
        await go_on.wait()
        await tell("last")

    told = []
    async for answer in streamed(work, lambda: "heartbeat", seconds=0.01):
        told.append(answer)
        if answer == "heartbeat":
            go_on.set()
    assert told[0] == "first"
    assert told[-1] == "last"
    assert "heartbeat" in told


async def test_an_error_ends_the_stream_after_what_was_told() -> None:
    async def work(tell: Tell[str]) -> None:
        await tell("first")
        raise StoreDisabled("off")

    told = []

    async def read() -> None:
        async for answer in streamed(work, lambda: "heartbeat"):
            told.append(answer)  # noqa: PERF401 - kept although it breaks

    with pytest.raises(StoreDisabled):
        await read()
    assert told == ["first"]


async def test_work_waits_for_its_reader_and_ends_with_it() -> None:
    made, cancelled = 0, asyncio.Event()

    async def work(tell: Tell[int]) -> None:
        nonlocal made
        try:
            while True:
                await tell(made)
                made += 1
        finally:
            cancelled.set()

    stream = streamed(work, lambda: -1)
    assert await anext(stream) == 0
    for _ in range(100):
        await asyncio.sleep(0)
    assert made < 30
    await stream.aclose()
    assert cancelled.is_set()
