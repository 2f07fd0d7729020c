from __future__ import annotations

import pytest

from tests.bench.rows import compare, paired, within


def test_higher_is_better_whatever_the_unit() -> None:
    speed = paired("x", [50.0, 60, 70], [100.0, 100, 100], limit_name="l", unit="MB/s", target=0.5)
    assert (speed.value, speed.limit_value, speed.ratio, speed.met) == (60, 100, 0.6, True)
    delay = paired("x", [4.0], [1.0], limit_name="l", unit="s", target=1 / 3, better="lower")
    assert (delay.ratio, delay.met) == (0.25, False)


def test_rounds_are_compared_in_pairs() -> None:
    """A round in which the machine was slow for both says the same as the others."""
    row = paired("x", [10.0, 100, 1000], [20.0, 200, 2000], limit_name="l", unit="", target=None)
    assert (row.ratio, row.spread, row.rounds, row.met) == (0.5, 0, 3, None)


@pytest.mark.parametrize(("value", "met"), [(299.0, True), (301.0, False)])
def test_a_budget_is_a_target_beside_the_bare_equivalent(value: float, *, met: bool) -> None:
    row = within("x", [value], [70.0], budget=300, limit_name="l", unit="MiB")
    assert row.target == pytest.approx(70 / 300)
    assert row.met is met


def test_who_goes_first_changes_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def figure(name: str, value: float) -> float:
        calls.append(name)
        return value if len(calls) > 2 else 1000 * value

    row = compare(
        "x",
        ours=lambda: figure("ours", 1),
        limit=lambda: figure("limit", 2),
        limit_name="l",
        unit="",
        target=None,
        rounds=2,
    )
    assert calls == ["limit", "ours", "ours", "limit", "limit", "ours"]
    assert (row.ratio, row.spread) == (0.5, 0)
