"""The longer it goes on failing, the longer it waits; a good run forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.restarts import RestartPolicy, describe_exit

POLICY = RestartPolicy(first_seconds=0.1, factor=2, ceiling_seconds=30, steady_seconds=60)


@given(st.integers(1, 10**9))
def test_waits_grow_up_to_the_ceiling(failures: int) -> None:
    assert 0.1 <= POLICY.delay(failures) <= POLICY.delay(failures + 1) <= 30


def test_first_waits() -> None:
    assert [POLICY.delay(n) for n in (1, 2, 3, 4)] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert POLICY.delay(50) == 30


def test_a_good_run_forgets_what_was_before() -> None:
    assert POLICY.failures_after(7, ran_seconds=59.9) == 8
    assert POLICY.failures_after(7, ran_seconds=60) == 1


def test_how_it_ended_is_told() -> None:
    assert describe_exit(-9) == "was killed by signal 9"
    assert describe_exit(3) == "ended with code 3"
