"""Workers as processes that a test starts, asks and stops by itself."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from librarian.testing.site import Site
from support.eventually import eventually_blocking


class WorkerProcess:
    def __init__(self, pid: int, metrics: Path) -> None:
        self.pid = pid
        self._metrics = metrics

    def measured(self, name: str) -> float:
        """The sum of all series of this metric."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(str(self._metrics))
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
        finally:
            connection.close()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))


def worker_of(site: Site) -> WorkerProcess:
    """The site's own."""
    return WorkerProcess(site.pid_of("worker"), site.home / "run/worker-metrics.sock")


@contextmanager
def second_worker(site: Site) -> Iterator[WorkerProcess]:
    """Another one, with the same settings but its own page of metrics."""
    metrics = site.home / "run/second-metrics.sock"
    environment = {**site.environment, "LIBRARIAN_WORKER__METRICS_LISTEN": f"unix:{metrics}"}
    environment.pop("LIBRARIAN_HOME")
    command = [sys.executable, "-m", "transfer_svc.workers", "--config", str(site.home / "run/worker.toml")]
    with (site.home / "logs/second.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        eventually_blocking(metrics.is_socket, what="the second worker is up")
        yield WorkerProcess(process.pid, metrics)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
