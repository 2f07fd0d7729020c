from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from transfer_svc.backoff import Backoff

CURVE = Backoff(base=0.25, ceiling=30.0)
rands = st.floats(min_value=0, max_value=1, exclude_max=True)


@settings(deadline=None)
@given(st.integers(0, 10**6), rands)
def test_within_half_and_whole_of_the_curve(attempt: int, rand: float) -> None:
    delay = CURVE.delay(attempt, rand)
    full = min(30.0, 0.25 * 2 ** min(max(attempt, 1) - 1, 32))
    assert full / 2 <= delay <= full


@settings(deadline=None)
@given(st.integers(1, 40), rands)
def test_never_shorter_with_more_attempts(attempt: int, rand: float) -> None:
    assert CURVE.delay(attempt + 1, rand) >= CURVE.delay(attempt, rand)


def test_grows_and_stops_at_the_ceiling() -> None:
    assert [CURVE.delay(n, 0.0) * 2 for n in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert CURVE.delay(8, 0.0) == CURVE.delay(10**9, 0.0) == 15.0


def test_randomness_spreads_a_crowd() -> None:
    assert CURVE.delay(5, 0.0) < CURVE.delay(5, 0.5) < CURVE.delay(5, 0.99)
