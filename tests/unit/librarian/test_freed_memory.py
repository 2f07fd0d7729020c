"""Buffers that come and go cost page faults only once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from librarian.kernel import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
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
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_buffers_are_kept() -> None:
    assert faults("keep") < faults("hand back") / 10
