"""Memory of processes: proportional set size, which counts shared pages once over all who share them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

MIB = 1 << 20
_SAMPLE_SECONDS = 0.1


def pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no Pss of process {pid}")


def total_pss(pids: Iterable[int]) -> int:
    return sum(pss_bytes(pid) for pid in pids)


def family(pid: int, *, without: str) -> list[int]:
    """A process and all below it, but those whose program's name starts with `without`, and theirs."""
    root = psutil.Process(pid)
    found = [root.pid]
    for child in root.children():
        if not child.name().startswith(without):
            found += family(child.pid, without=without)
    return found


@contextmanager
def watching(pids: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """How many bytes each process grows at most inside the block; filled in when it ends."""
    before = {name: pss_bytes(pid) for name, pid in pids.items()}
    peaks = dict(before)
    growth: dict[str, int] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            for name, pid in pids.items():
                peaks[name] = max(peaks[name], pss_bytes(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield growth
    finally:
        stop.set()
        thread.join()
        growth.update({name: peaks[name] - before[name] for name in pids})
