"""Figures as people read them. Pure."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size_text(size: float) -> str:
    """Three digits and a decimal unit, as disks are sold: `999 B`, `1.23 GB`."""
    value = float(size)
    for unit in _UNITS:
        # 999.5 would be shown as 1000.
        if abs(value) < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    if unit == "B":
        return f"{value:.0f} B"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def rate_text(bytes_per_second: float) -> str:
    return f"{size_text(bytes_per_second)}/s"


def count_text(count: int) -> str:
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 dataset`, `2,000 datasets`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def time_text(moment: datetime) -> str:
    """Local, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def duration_text(seconds: float) -> str:
    """`5.2 s`, `3 m 20 s`, `2 h 05 m`, `3 d 04 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} m"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h"


def since_text(moment: datetime, now: datetime) -> str:
    """`2026-11-22 18:02 (3 m 20 s)`: since when, and how long that is."""
    return f"{time_text(moment)} ({duration_text(max(0.0, (now - moment).total_seconds()))})"


def coming_text(moment: datetime, now: datetime) -> str:
    """`at 2026-11-22 18:02 (in 3 m 20 s)`; `now` where it is due."""
    left = (moment - now).total_seconds()
    return f"at {time_text(moment)} (in {duration_text(left)})" if left > 0 else "now"


def share_text(done: int, total: int) -> str:
    """`45 %`; 100 only at the end."""
    return f"{min(done, total) * 100 // total} %" if total > 0 else "-"


def clock_text(seconds: float) -> str:
    """As a countdown: `0:07`, `12:34`, `3:07:12`, `4 d 03 h`."""
    whole = round(seconds)
    if whole >= 48 * 3600:
        return duration_text(whole)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def label(constant: str, prefix: str) -> str:
    """`REPLICA_STATE_AVAILABLE` without its prefix, in lower case."""
    return constant.removeprefix(prefix).lower()
