"""A service that does nothing: a unix socket is there while it runs. Behaviour comes by files."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path


def main(argv: list[str]) -> int:
    """argv: a directory and a name. <dir>/<name>.fail: ends at once with code 3. <dir>/<name>.deaf:
    ignores SIGTERM. <dir>/stopped gets the name of each that stops in order.
    """
    directory, name = Path(argv[0]), argv[1]
    print(f"{name} says hello", flush=True)
    if (directory / f"{name}.fail").exists():
        print("cannot go on", file=sys.stderr)
        return 3
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, signal.SIG_IGN if (directory / f"{name}.deaf").exists() else stop)
    path = directory / f"{name}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.05)
        while not stopped:
            try:
                with listener.accept()[0] as caller:
                    caller.sendall(b"ok")
            except TimeoutError:
                time.sleep(0)
    with (directory / "stopped").open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    return 0
