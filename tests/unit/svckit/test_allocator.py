"""Buffers that come and go cost page faults only once."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from svckit.allocator import keep_freed_buffers
if sys.argv[1] == "keep" and not keep_freed_buffers():
    sys.exit("not here")
def churn():
    for _ in range(40):
        buffers = [bytes(1 << 20) for _ in range(4)]
        for number in range(4):
            buffers[number] = bytearray(1 << 20)
        del buffers
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
    if done.stderr.strip() == "not here":
        pytest.skip("this C library's allocator cannot be told")
    return int(done.stdout)


def test_freed_buffers_are_kept() -> None:
    assert faults("keep") < faults("hand back") / 10
