"""The token bucket, by a clock that is turned by hand."""

from __future__ import annotations

import pytest

from transfer_svc.movers.base import Batch
from transfer_svc.movers.pacing import Pace, Paces


@pytest.mark.parametrize("chunk", [1_000, 262_144, 1 << 20])
def test_so_many_bytes_a_second_whoever_takes_them_and_however_late(chunk: int) -> None:
    rate = 6_250_000
    pace = Pace(rate)
    now, sent = 0.0, 0
    while now < 20:
        # One who wakes up late by a fifth of a chunk's time.
        now += pace.reserve(chunk, now) + chunk / rate / 5
        sent += chunk
    assert 0.98 * rate <= sent / now <= rate * 1.01 + chunk / now


def test_a_silence_is_not_made_good_beyond_a_moment() -> None:
    pace = Pace(1_000_000)
    assert pace.reserve(1_000_000, 0.0) == 0.0
    assert pace.reserve(1_000_000, 0.0) == pytest.approx(0.9)
    waits = [pace.reserve(100_000, 100.0) for _ in range(4)]
    assert waits == pytest.approx([0.0, 0.0, 0.1, 0.2])


def test_batches_of_one_route_share_a_limit_and_its_changes() -> None:
    paces = Paces(lambda: 0.0)
    first = paces.of(Batch("1", "b", (), max_bytes_per_second=100, route="r"))
    assert paces.of(Batch("2", "b", (), max_bytes_per_second=200, route="r")) is first
    assert first is not None
    assert first.bytes_per_second == 200
    assert paces.of(Batch("3", "b", (), max_bytes_per_second=100, route="s")) is not first
    assert paces.of(Batch("4", "b", (), route="r")) is None
