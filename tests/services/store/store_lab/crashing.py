"""Runs one step of the store's life in a process of its own, which may be killed at any failpoint."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from store_lab import Lab, a_lab
from store_svc.filesystem import Feature
from svckit.faults import Faults

Step = Callable[[Lab], Awaitable[None]]

_fork = multiprocessing.get_context("forkserver")
# The installed packages only: the fork server does not know the paths of the tests.
_fork.set_forkserver_preload(["store_svc.app"])


def run_to_its_end(
    step: Step,
    dsn: str,
    root: Path,
    plan: dict[str, object] | None,
    refused: Iterable[Feature] = (),
) -> bool:
    """Whether it got there; False: it was killed as planned. What it raises fails the test."""
    fault_file = root.parent / "faults.json"
    if plan is not None:
        fault_file.write_text(json.dumps(plan))
    process = _fork.Process(target=_run, args=(step, dsn, root, fault_file, tuple(refused)))
    process.start()
    process.join(300)
    assert process.exitcode in {0, -9}, f"the process ended with {process.exitcode}"
    fault_file.unlink(missing_ok=True)
    return process.exitcode == 0


def _run(step: Step, dsn: str, root: Path, fault_file: Path, refused: tuple[Feature, ...]) -> None:
    asyncio.run(_in_lab(step, dsn, root, fault_file, refused))


async def _in_lab(step: Step, dsn: str, root: Path, fault_file: Path, refused: tuple[Feature, ...]) -> None:
    async with a_lab(dsn, root, refused=refused, faults=Faults(fault_file)) as lab:
        await step(lab)


def run_as(user: int, work: Callable[[], None]) -> None:
    """In a process of this user's, who is not root."""
    process = _fork.Process(target=_as_user, args=(user, work))
    process.start()
    process.join(300)
    assert process.exitcode == 0


def _as_user(user: int, work: Callable[[], None]) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    work()
