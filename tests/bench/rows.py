"""What a measurement says, and how two things are compared fairly on a machine that is never quiet."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
Figure = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` says how near ours is to its limit, higher is better whatever the
    unit; `met` is ratio >= target. Without a target the figure is only reported. `spread` is that of the
    ratio over the rounds: (highest - lowest) / median.
    """

    name: str
    value: float
    unit: str
    limit: str
    limit_value: float
    ratio: float
    target: float | None
    met: bool | None
    rounds: int
    spread: float


def compare(
    name: str,
    *,
    ours: Figure,
    limit: Figure,
    limit_name: str,
    unit: str,
    target: float | None,
    rounds: int,
    better: Better = "higher",
) -> Row:
    """Both figures in each round, one right after the other, so that whatever else the machine does
    strikes both; which goes first changes. One round before is not counted.
    """
    values: list[float] = []
    limits: list[float] = []
    for number in range(rounds + 1):
        if number % 2:
            measured, bound = ours(), limit()
        else:
            bound, measured = limit(), ours()
        if number:
            values.append(measured)
            limits.append(bound)
    return paired(name, values, limits, limit_name=limit_name, unit=unit, target=target, better=better)


def paired(
    name: str,
    values: Sequence[float],
    limits: Sequence[float],
    *,
    limit_name: str,
    unit: str,
    target: float | None,
    better: Better = "higher",
) -> Row:
    """Of figures taken in rounds: values[i] belongs to limits[i]."""
    ratios = [
        measured / bound if better == "higher" else bound / measured
        for measured, bound in zip(values, limits, strict=True)
    ]
    ratio = statistics.median(ratios)
    return Row(
        name=name,
        value=statistics.median(values),
        unit=unit,
        limit=limit_name,
        limit_value=statistics.median(limits),
        ratio=ratio,
        target=target,
        met=None if target is None else ratio >= target,
        rounds=len(ratios),
        spread=(max(ratios) - min(ratios)) / ratio,
    )


def within(
    name: str, values: Sequence[float], limits: Sequence[float], *, budget: float, limit_name: str, unit: str
) -> Row:
    """For figures that must stay below a budget of their own, shown beside a bare equivalent: the target
    is the ratio the budget would have.
    """
    target = statistics.median(limits) / budget
    return paired(name, values, limits, limit_name=limit_name, unit=unit, target=target, better="lower")
