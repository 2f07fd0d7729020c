"""Asking back, before something that is hard to undo."""

from __future__ import annotations

import asyncio
import sys


async def confirmed(question: str) -> bool:
    """Whether the person at the terminal says yes. Waits on the loop, so that Ctrl-C ends it at once."""
    sys.stdout.flush()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    # A terminal hands over whole lines: this does not wait.
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
