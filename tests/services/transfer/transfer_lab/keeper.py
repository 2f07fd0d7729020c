"""Runs one of our processes and starts it again whenever it is killed, quickly: by fork, imports done.

`python keeper.py SERVICE CONFIG`; tells `killed` for each death and `ended CODE` on stdout. SIGTERM is
passed on. Dies with its parent, and its child with it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

MODULES = {
    "transfer": "transfer_svc.__main__",
    "worker": "transfer_svc.workers.__main__",
    # A worker whose mover is the tests'.
    "carrying": "transfer_lab.carrying",
}
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(service: str, config: str) -> int:
    die_with_parent()
    child = 0
    told = False

    def pass_on(*_: object) -> None:
        nonlocal told
        told = True
        if child:
            # It may have been killed this moment.
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    module = importlib.import_module(MODULES[service])
    while not told:
        # A stop that comes now waits until it is known whose it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        child = os.fork()
        if child == 0:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            os._exit(module.main(["--config", config]))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _, status = os.waitpid(child, 0)
        child = 0
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            print(f"ended {code}", flush=True)
            return 0
        print("killed", flush=True)
    print(f"ended {-signal.SIGTERM}", flush=True)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    sys.exit(main(*sys.argv[1:]))
