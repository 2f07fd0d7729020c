"""Figures, sizes, times and tags: as people read and write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from librarian.cli import parse
from librarian.cli.texts import clock_text, counted, duration_text, size_text

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1024, "1.02 kB"),
        (9_994, "9.99 kB"),
        (9_995, "10.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (20 * 10**12, "20.0 TB"),
        (10**22, "10000 EB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, 10**20))
def test_sizes_are_short_and_right_to_three_digits(size: int) -> None:
    text = size_text(size)
    number, unit = text.split()
    power = ("B", "kB", "MB", "GB", "TB", "PB", "EB").index(unit)
    assert float(number) * 1000**power == pytest.approx(size, rel=0.006)
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (200, "3 m 20 s"), (7500, "2 h 05 m"),
     (273_600, "3 d 04 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7, "0:07"), (754, "12:34"), (11_232, "3:07:12"), (500_000, "5 d 18 h")]
)
def test_countdowns(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_grammar() -> None:
    assert counted(1, "dataset") == "1 dataset"
    assert counted(2000, "dataset") == "2,000 datasets"
    assert counted(0, "copy", "copies") == "0 copies"


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("20MB", 20_000_000), ("1.5GiB", 3 << 29), ("1 kB", 1000), ("2T", 2 * 10**12), ("0", 0)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse.size(text, "--larger") == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.5.5GB", "1XB", "20 M B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--larger"):
        parse.size(text, "--larger")


def test_times_are_read() -> None:
    assert parse.moment("7d", "--after", now=NOW) == NOW - timedelta(days=7)
    assert parse.moment("90m", "--after", now=NOW) == NOW - timedelta(minutes=90)
    assert parse.moment("2026-11-22T15:04Z", "--after", now=NOW) == datetime(2026, 11, 22, 15, 4, tzinfo=UTC)
    assert parse.moment("2026-11-22", "--after", now=NOW).tzinfo is not None
    for text in ("yesterday", "7", "22.11.2026"):
        with pytest.raises(typer.BadParameter, match="--after"):
            parse.moment(text, "--after", now=NOW)
    assert parse.duration("12h", "--lifetime") == 43200
    with pytest.raises(typer.BadParameter):
        parse.duration("soon", "--lifetime")


def test_tags_and_modes_are_read() -> None:
    assert parse.tags(["a=b=c", "d", "e="]) == {"a": "b=c", "d": "", "e": ""}
    with pytest.raises(typer.BadParameter):
        parse.tags(["=x"])
    assert parse.mode("0644", "--file-mode") == 0o644
    for text in ("9", "rw", "77777"):
        with pytest.raises(typer.BadParameter):
            parse.mode(text, "--file-mode")
