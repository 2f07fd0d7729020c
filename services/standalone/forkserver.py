"""The process that forks the services. It has imported everything and started nothing: no thread, no
event loop, no gRPC, so that its children begin in milliseconds and share its memory.

It talks JSON lines over one socket: {"start": name} and {"signal": name, "number": n} come in,
{"started": name, "pid": pid} and {"exited": name, "pid": pid, "status": code} go out. When the other
end closes, however that came about, it stops every child and ends: no orphan is left.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from standalone.early_stop import forget_stops

# For children to end by themselves before they are killed, once the supervisor is gone.
ORPHAN_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class Program:
    """What one child runs: `main(argv)` of a module, its output appended to a log. It writes its pid to
    a file, for people who want to look at it, or to kill it.
    """

    name: str
    module: str
    argv: tuple[str, ...]
    log: Path
    pid_file: Path


def fork_server(programs: Sequence[Program]) -> socket.socket:
    """Forks it off this process, which must not have started anything yet; the socket to talk to it."""
    tasks = Path("/proc/self/task")
    if tasks.exists() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("a thread was started before the fork server: its children would be broken")
    ours, theirs = socket.socketpair()
    # What is imported will stay: the collector shall not touch, and so copy, its pages in every child.
    gc.collect()
    gc.freeze()
    if os.fork() == 0:
        ours.close()
        _end_with(lambda: _ForkServer({program.name: program for program in programs}, theirs).run())
    theirs.close()
    return ours


class _ForkServer:
    def __init__(self, programs: Mapping[str, Program], control: socket.socket) -> None:
        self._programs = programs
        self._control = control
        self._children: dict[int, str] = {}
        self._buffer = b""

    def run(self) -> int:
        # Its own group: Ctrl-C in the terminal is the supervisor's to hear.
        os.setpgid(0, 0)
        forget_stops()
        # A child's end arrives as a byte here, so that one select waits for both.
        wakeup, wakeup_write = socket.socketpair()
        wakeup.setblocking(False)
        wakeup_write.setblocking(False)
        signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _name_process("lib-forkserver")
        while True:
            readable, _, _ = select.select([self._control, wakeup], [], [])
            if wakeup in readable:
                wakeup.recv(4096)
            self._reap()
            if self._control in readable and not self._receive():
                break
        self._stop_children()
        return 0

    def _receive(self) -> bool:
        """False when the supervisor is gone."""
        try:
            data = self._control.recv(65536)
        except ConnectionResetError:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, command: Mapping[str, str | int]) -> None:
        if "start" in command:
            program = self._programs[str(command["start"])]
            # A SIGTERM to a child that still ignores it, as we do, would be lost: held back, it is not.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            pid = os.fork()
            if pid == 0:
                self._become(program)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            self._children[pid] = program.name
            self._tell({"started": program.name, "pid": pid})
        else:
            for pid, name in self._children.items():
                if name == command["signal"]:
                    os.kill(pid, int(command["number"]))

    def _become(self, program: Program) -> None:
        self._control.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _die_with_parent()
        _name_process(f"lib-{program.name}")
        log = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(log)
        os.close(null)
        program.pid_file.write_text(f"{os.getpid()}\n")
        module = importlib.import_module(program.module)
        _end_with(lambda: module.main(list(program.argv)))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._children.pop(pid)
            self._tell({"exited": name, "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, event: Mapping[str, str | int]) -> None:
        try:
            self._control.sendall(json.dumps(event).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the supervisor is gone; the next read says so and all is stopped

    def _stop_children(self) -> None:
        deadline = time.monotonic() + ORPHAN_SECONDS
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.02)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def _end_with(main: object) -> None:
    """Runs `main` and leaves the process with what it returns, as an interpreter would, but without the
    exit handlers that belong to the process it was forked from.
    """
    code = 1
    try:
        code = _exit_code(main() if callable(main) else None)
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException:  # noqa: BLE001 this is the end of the process: the log gets whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    print(value, file=sys.stderr)  # noqa: T201 as the interpreter does for sys.exit("message")
    return 1


def _die_with_parent() -> None:
    """Where the kernel can (Linux): when the fork server itself is killed, so are its children."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _name_process(name: str) -> None:
    """What `ps` and `top` show; cut to 15 bytes by the kernel."""
    _prctl(_PR_SET_NAME, name.encode())


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
