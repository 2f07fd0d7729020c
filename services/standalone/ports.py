"""TCP ports of a site, promised to nobody else between their choice and the binding of them.

A port that looks free to one start looks free to another at the same moment. Each start therefore holds a
name in the abstract namespace of unix sockets: as wide as that of the ports, one holder at a time, and given
up by the kernel with the last process that has it. Where there is no such namespace, looking has to do.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# For a run before that was killed to let go of its port.
_PATIENCE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02


class Ports:
    """What one start holds, until it is closed here and in every process forked meanwhile."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def hold(self, port: int, *, patient: bool = False) -> bool:
        """Whether it is free, and this start's from now on. `patient`: a run before may be just ending."""
        deadline = time.monotonic() + (_PATIENCE_SECONDS if patient else 0)
        while _is_free(port):
            if self._hold_name(port):
                # The one that held it until now may have bound it.
                return _is_free(port)
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def hold_any(self) -> int:
        """A free one."""
        while True:
            port = _any_port()
            if self.hold(port):
                return port

    def close(self) -> None:
        while self._held:
            self._held.pop().close()

    def _hold_name(self, port: int) -> bool:
        if sys.platform != "linux":
            return True
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0librarian-port-{port}")
        except OSError:
            name.close()
            return False
        self._held.append(name)
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds: connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
