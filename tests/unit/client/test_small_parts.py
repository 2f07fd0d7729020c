"""Progress, patience, frames, batches, and the bridge between a thread and the loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian.api.store.v1 import store_pb2
from librarian.connection.patience import Patience, keep_trying
from librarian.errors import NameTaken, Unavailable
from librarian.handover import from_thread
from librarian.ingest import planning
from librarian.ingest.frames import frame
from librarian.ingest.items import PutItem, PutOutcome, PutResult
from librarian.progress import MovingRate, Progress


def test_the_rate_is_that_of_the_window() -> None:
    rate = MovingRate(window_seconds=10)
    assert rate.rate() is None
    for second in range(61):
        # A fast start, then a slow rest.
        rate.sample(second, min(second, 10) * 1000 + max(0, second - 10) * 10)
    assert rate.rate() == pytest.approx(10)
    assert rate.seconds_left(10_500 + 100) == pytest.approx(10)


def test_a_rate_that_stands_still_promises_nothing() -> None:
    rate = MovingRate(window_seconds=10)
    for second in range(30):
        rate.sample(second, 5)
    assert rate.rate() == 0
    assert rate.seconds_left(10) is None
    rate.sample(31, 1)
    assert rate.rate() is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e9)), max_size=200))
def test_the_rate_keeps_a_bounded_window(samples: list[tuple[float, float]]) -> None:
    rate = MovingRate(window_seconds=5)
    now = 0.0
    for step, done in samples:
        now += step
        rate.sample(now, done)
        found = rate.rate()
        assert found is None or found >= 0


def test_progress_counts_from_any_thread() -> None:
    progress = Progress()
    progress.begin("copying", total_bytes=10)
    threads = [threading.Thread(target=lambda: [progress.add(1) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.held_up("a store is full")
    snapshot = progress.snapshot()
    assert (snapshot.done_bytes, snapshot.total_bytes, snapshot.trouble) == (4000, 10, "a store is full")
    progress.begin("verifying")
    assert progress.snapshot().trouble == ""


def test_patience_doubles_and_ends_unless_something_moves() -> None:
    patience = Patience.__new__(Patience)
    patience.seconds, patience.first_seconds, patience.longest_seconds = 10, 1, 4
    patience.rng, patience._wait, patience._since = random.Random(1), 0.0, None
    waits = [patience.next_wait(now) for now in (0, 1, 3, 7, 9.9)]
    assert [wait is not None for wait in waits] == [True] * 5
    for wait, meant in zip(waits, [1, 2, 4, 4, 0.1], strict=True):
        assert wait is not None
        assert wait <= meant * 1.25
    assert patience.next_wait(10) is None
    patience.progressed()
    assert patience.next_wait(11) is not None


async def test_keep_trying_raises_at_once_what_will_not_pass() -> None:
    tries = []

    async def attempt() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("not now")
        if len(tries) == 2:
            raise NameTaken("never")
        return 1

    with pytest.raises(NameTaken):
        await keep_trying(attempt, Patience(60))
    assert len(tries) == 2


@given(st.binary(max_size=70_000), st.integers(0, 2**40), st.booleans(), st.text(max_size=20))
def test_frames_are_what_protobuf_would_have_made(data: bytes, offset: int, last: bool, path: str) -> None:  # noqa: FBT001
    header = store_pb2.WriteUploadRequest(upload_id="u", path=path, offset=offset, last=last)
    found = store_pb2.WriteUploadRequest.FromString(frame(header, data))
    crc = google_crc32c.value(data) if data else 0
    assert found == store_pb2.WriteUploadRequest(
        upload_id="u", path=path, offset=offset, last=last, data=data, crc32c=crc
    )


@given(st.lists(st.integers(0, planning.MAX_BYTES + 5), max_size=60), st.integers(1, 7))
def test_batches_keep_order_and_limits(sizes: list[int], max_items: int) -> None:
    found = [
        PutResult(PutItem(Path("p"), str(index)), PutOutcome.FAILED, size_bytes=size)
        for index, size in enumerate(sizes)
    ]
    batches = list(planning.batches(found, max_items=max_items))
    assert [one for batch in batches for one in batch] == found
    for batch in batches:
        assert 0 < len(batch) <= max_items
        assert len(batch) == 1 or sum(one.size_bytes for one in batch) <= planning.MAX_BYTES


async def test_the_bridge_keeps_order_and_raises_after_the_items() -> None:
    def produce(_: threading.Event) -> Iterator[int]:
        yield from range(100)
        raise NameTaken("at the end")

    found = []
    with pytest.raises(NameTaken):  # noqa: PT012 - what came before it counts too
        async with aclosing(from_thread(produce)) as items:
            async for item in items:
                found.append(item)  # noqa: PERF401 - kept when it raises
    assert found == list(range(100))


async def test_the_bridge_is_bounded_and_ends_its_thread() -> None:
    produced = []
    ended = threading.Event()

    def produce(stop: threading.Event) -> Iterator[int]:
        try:
            for number in range(1_000_000):
                produced.append(number)
                yield number
        finally:
            ended.set()

    async with aclosing(from_thread(produce, depth=3)) as items:
        async for item in items:
            if item == 10:
                break
        await asyncio.sleep(0)
    assert ended.is_set()
    assert len(produced) <= 10 + 1 + 3 + 2
