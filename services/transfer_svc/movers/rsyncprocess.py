"""One run of rsync: started, watched, and never left behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from librarian.errors import Unavailable
from transfer_svc.movers.rsyncaddress import RsyncAddress

BINARY: Final = "rsync"
_COMMON: Final = (
    "--links",
    "--times",
    "--perms",
    "--omit-dir-times",
    "--omit-link-times",
    "--partial",
    "--inplace",
    # File names go to the other side as data, past its shell.
    "--protect-args",
    "--no-human-readable",
    "--info=progress2,stats0,flist0",
    "--outbuf=L",
    "--timeout=60",
)
_SSH: Final = (
    "--rsh=ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
)
_DAEMON: Final = ("--no-motd", "--contimeout=15")
_PROGRESS = re.compile(rb"\s*(\d+)\s+\d+%")
_TOLD_BYTES: Final = 16 << 10
_GRACE_SECONDS: Final = 2.0


def command(
    sources: Sequence[str], into: RsyncAddress, options: Sequence[str], bytes_per_second: int = 0
) -> list[str]:
    """`into`: a directory that the sources go into; of a source with a slash at its end, the content."""
    limit = [f"--bwlimit={max(1, bytes_per_second // 1024)}"] if bytes_per_second else []
    way = _DAEMON if into.daemon else (_SSH,)
    return [BINARY, *_COMMON, *options, *limit, *way, "--", *sources, f"{into}/"]


async def run(arguments: Sequence[str], progress: Callable[[int], None]) -> tuple[int, str]:
    """Exit code and the last of what it wrote to stderr. `progress` is told the bytes so far. Whatever ends
    this ends the process and all it started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=_environment(),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "rsync is not installed where the worker runs",
            remedy="install rsync (and openssh-client) there, or give the route another way",
        ) from error
    try:
        told, _ = await asyncio.gather(_told(process), _watch(process, progress))
        return await process.wait(), told
    finally:
        await asyncio.shield(_end(process))


async def _watch(process: Process, progress: Callable[[int], None]) -> None:
    assert process.stdout is not None, "it is a pipe"
    rest = b""
    while data := await process.stdout.read(_TOLD_BYTES):
        *lines, rest = re.split(rb"[\r\n]", rest + data)
        # Nothing rsync says here is long.
        rest = rest[-_TOLD_BYTES:]
        for line in lines:
            if (found := _PROGRESS.match(line)) is not None:
                progress(int(found[1]))


async def _told(process: Process) -> str:
    assert process.stderr is not None, "it is a pipe"
    told = b""
    while data := await process.stderr.read(_TOLD_BYTES):
        told = (told + data)[-_TOLD_BYTES:]
    return told.decode(errors="replace")


async def _end(process: Process) -> None:
    """With the group, of which it is the leader: ssh is in it."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _environment() -> dict[str, str]:
    """Without our own secrets, and without what would change rsync's ways."""
    left_out = ("LIBRARIAN_", "LC_", "RSYNC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "LC_ALL": "C"}
