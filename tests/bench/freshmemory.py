"""Memory that is quick to write to, for both sides of a comparison.

A virtual machine may give free memory back to its host after seconds; who writes to it next waits for the
host, which was measured to cost ten times the write itself. A plain loop that runs right after something
large was deleted meets memory that is still there, and a service that runs later does not: that would
compare memory, not programs.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SLICE_BYTES = 64 << 20
_PAGE_BYTES = 4096
# A second's worth is freed before it is needed: more than anything here writes in that time.
_BYTES_A_SECOND = 1 << 30


@contextmanager
def fresh_memory(size: int) -> Iterator[None]:
    """While the block runs, `size` bytes that were just in use become free, a gigabyte a second."""
    slices = [_touched() for _ in range(-(-size // _SLICE_BYTES))]
    done = threading.Event()

    def free() -> None:
        while slices and not done.wait(_SLICE_BYTES / _BYTES_A_SECOND):
            slices.pop().close()

    for one in slices[-4:]:
        one.close()
    del slices[-4:]
    thread = threading.Thread(target=free)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for one in slices:
            one.close()


def _touched() -> mmap.mmap:
    found = mmap.mmap(-1, _SLICE_BYTES)
    for at in range(0, _SLICE_BYTES, _PAGE_BYTES):
        found[at] = 1
    return found
