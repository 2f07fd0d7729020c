from __future__ import annotations

import threading
from pathlib import Path

import pytest

from librarian.manifests import MemberKind
from librarian.pipeline import BUFFER_BYTES, BUFFER_COUNT, Beside, spread
from librarian.trees import TreeEntry


def entries(sizes: list[int]) -> list[TreeEntry]:
    return [TreeEntry(str(index), MemberKind.FILE, size, "", 0, 0, 0, 0) for index, size in enumerate(sizes)]


def feed(beside: Beside) -> None:
    for index in range(10 * BUFFER_COUNT):
        beside.give(beside.take(), 1, index)


def test_beside_works_in_order_on_what_was_given() -> None:
    seen: list[tuple[bytes, int]] = []
    with Beside(lambda data, offset: seen.append((bytes(data), offset))) as beside:
        for index in range(3 * BUFFER_COUNT):
            view = beside.take()
            assert len(view) == BUFFER_BYTES
            view[:2] = b"%02d" % index
            beside.give(view, 2, index)
        beside.finish()
    assert seen == [(b"%02d" % index, index) for index in range(3 * BUFFER_COUNT)]


def test_beside_lets_the_feeder_only_so_far_ahead() -> None:
    gate, seen = threading.Event(), list[int]()

    def wait(_: memoryview, offset: int) -> None:
        assert gate.wait(30)
        seen.append(offset)

    with Beside(wait) as beside:
        for index in range(BUFFER_COUNT):
            beside.give(beside.take(), 1, index)
        threading.Timer(0.05, gate.set).start()
        beside.take()
        # There was no empty buffer before one had been worked on.
        assert seen


def test_what_goes_wrong_beside_comes_out() -> None:
    def fail(_: memoryview, offset: int) -> None:
        calls.append(offset)
        raise InterruptedError

    calls: list[int] = []
    with Beside(fail) as beside, pytest.raises(InterruptedError):
        feed(beside)
    with Beside(fail) as beside:
        beside.give(beside.take(), 1, 0)
        with pytest.raises(InterruptedError):
            beside.finish()
    assert calls == [0, 0]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("sizes", [[], [5], [1] * 500, [10**9, 1, 10**7, 0, 3, 10**9], [4 << 20] * 9])
def test_spread_keeps_the_order(sizes: list[int], threads: int) -> None:
    def work(entry: TreeEntry, *, alone: bool) -> tuple[str, bool]:
        return entry.path, alone

    found = spread(entries(sizes), work, threads=threads)
    assert [path for path, _ in found] == [str(index) for index in range(len(sizes))]
    assert len({alone for _, alone in found}) <= 1
    if threads == 1:
        assert all(alone for _, alone in found)


def test_spread_uses_all_threads_and_no_more() -> None:
    together = threading.Barrier(3, timeout=30)
    names: set[str] = set()

    def work(entry: TreeEntry, *, alone: bool) -> None:
        assert not alone
        names.add(threading.current_thread().name)
        together.wait()

    spread(entries([10**8] * 9), work, threads=3)
    assert len(names) == 3


def test_spread_begins_with_the_largest() -> None:
    seen: list[int] = []
    first = threading.Barrier(2, timeout=30)

    def work(entry: TreeEntry, *, alone: bool) -> None:
        seen.append(entry.size_bytes)
        if len(seen) <= 2:
            first.wait()

    spread(entries([10**7, 10**8, 5, 10**9]), work, threads=2)
    assert set(seen[:2]) == {10**8, 10**9}


def test_spread_stops_at_the_first_error(tmp_path: Path) -> None:
    seen: list[str] = []
    failed = threading.Event()

    def work(entry: TreeEntry, *, alone: bool) -> None:
        seen.append(entry.path)
        if len(seen) == 1:
            failed.set()
            raise InterruptedError
        assert failed.wait(30)

    with pytest.raises(InterruptedError):
        spread(entries([5 << 20] * 100), work, threads=2)
    assert len(seen) < 10
