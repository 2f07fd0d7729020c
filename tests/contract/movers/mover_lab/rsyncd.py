"""An rsync daemon on loopback, over one directory."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def rsync_daemon(directory: Path, module: Path) -> AsyncIterator[str]:
    """The address of the module, which is `module`. Without chroot a daemon rewrites links to other words
    for the same; only root can have chroot.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "rsyncd.conf"
    chroot = "no" if os.geteuid() else "yes"
    config.write_text(
        f"address = 127.0.0.1\nport = {port}\nuse chroot = {chroot}\nmunge symlinks = no\n"
        f"pid file = {directory}/rsyncd.pid\nlog file = {directory}/rsyncd.log\n"
        f"[stores]\npath = {module}\nread only = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
    )
    daemon = await asyncio.create_subprocess_exec(
        "rsync", "--daemon", "--no-detach", f"--config={config}", stdin=asyncio.subprocess.DEVNULL
    )
    try:
        await _listening(port)
        yield f"rsync://127.0.0.1:{port}/stores"
    finally:
        daemon.terminate()
        await daemon.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            await writer.wait_closed()
            return
