"""`python fake_site.py DIR`: fork server and supervisor of standalone with two fake services.

Says "ready" and what the supervisor says on stdout; stops on SIGTERM; SIGINT twice hurries.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from standalone import supervisor as supervisor_module
from standalone.children import Children
from standalone.errors import ServiceFailed
from standalone.forkserver import Program, fork_server
from standalone.supervisor import Supervisor, Watched

NAMES = ("door", "cellar")


def say(text: str) -> None:
    print(text, flush=True)


async def answers(path: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
        async with asyncio.timeout(0.2):
            answer = await reader.read(2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return answer == b"ok"


async def run(control: socket.socket, directory: Path) -> None:
    children = Children(control)
    await children.open()
    watched = [
        Watched(name, ready, ready, directory / f"{name}.log")
        for name in NAMES
        for ready in [lambda name=name: answers(directory / f"{name}.sock")]
    ]
    supervisor = Supervisor(watched, children, say=say)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, supervisor.hurry)
    lost = asyncio.create_task(children.lost())
    try:
        await supervisor.start()
        say("ready " + " ".join(str(children.running(name).pid) for name in NAMES))
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({asked, lost}, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            say(f"lost: {lost.exception()}")
    except ServiceFailed as error:
        say(f"failed: {error.message}")
    finally:
        lost.cancel()
        await supervisor.stop()
        await children.close()
    say("stopped")


def main() -> None:
    directory = Path(sys.argv[1])
    supervisor_module.STOP_SECONDS = float(os.environ.get("STOP_SECONDS", "1"))
    supervisor_module.CHECK_SECONDS = 0.2
    supervisor_module.SILENT_CHECKS = 3
    programs = [
        Program(
            name,
            "support.fake_service",
            (str(directory), name),
            directory / f"{name}.log",
            directory / f"{name}.pid",
        )
        for name in NAMES
    ]
    asyncio.run(run(fork_server(programs), directory))


if __name__ == "__main__":
    main()
