"""A site of the compose file as plain processes: its own commands, settings, files and health checks, with
paths and addresses put where this machine has room for them.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from support.deployment import ROOT
from support.deployment.compose import CONFIG, Container, containers

PROCESSES = ("catalog", "store", "transfer", "worker", "gateway")
_METRICS = "9100"
_PORTS = ("7700", "7701", "7702", "7703")
_DATABASE = "librarian-postgres/librarian"
_ROLE = "librarian_"


class ComposeSite:
    """`admin_dsn`: of an empty database that stands in for the site's own container."""

    def __init__(self, name: str, root: Path, admin_dsn: str) -> None:
        self.root = root
        self._containers = {each.role: each for each in containers().values() if each.site == name}
        self._admin = urlsplit(admin_dsn)
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._metrics = dict(zip(PROCESSES, _free_ports(len(PROCESSES)), strict=True))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, role: str) -> subprocess.CompletedProcess[str]:
        """A container that does its work and ends."""
        return subprocess.run(
            self._command(role),
            env=self._environment(role),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def start(self, *roles: str) -> None:
        for role in roles:
            with self.log(role).open("wb") as log:
                self._running[role] = subprocess.Popen(
                    self._command(role), env=self._environment(role), stdout=log, stderr=log
                )

    def is_healthy(self, role: str) -> bool:
        """By the container's own health check."""
        kind, *command = self._containers[role].spec["healthcheck"]["test"]
        assert kind == "CMD"
        probe = [self._placed(role, part) for part in command]
        environ = self._environment(role)
        return (
            subprocess.run(probe, env=environ, check=False, capture_output=True, timeout=30).returncode == 0
        )

    def execute(self, role: str, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec` of a command in that container."""
        program = Path(sys.executable).with_name(command[0])
        return subprocess.run(
            [program, *(self._placed(role, part) for part in command[1:])],
            env=self._environment(role),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def stop(self) -> dict[str, int]:
        """As `docker compose stop`: {role: exit code}."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        grace = {
            role: self._containers[role].spec["stop_grace_period"].removesuffix("s") for role in PROCESSES
        }
        return {role: self._running[role].wait(timeout=float(grace[role])) for role in PROCESSES}

    def wait(self, role: str) -> int:
        """Until it ends of its own accord; the exit code."""
        return self._running[role].wait(timeout=60)

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def log(self, role: str) -> Path:
        return self.root / f"{role}.log"

    def path(self, role: str, inside: str) -> Path:
        """Where a path of that container is."""
        return Path(self._placed(role, inside))

    def _command(self, role: str) -> list[str]:
        command = [self._placed(role, part) for part in self._containers[role].spec["command"]]
        return [sys.executable, *command[1:]]

    def _environment(self, role: str) -> dict[str, str]:
        container = self._containers[role]
        given = {name: self._placed(role, value) for name, value in container.environment.items()}
        if "LIBRARIAN_DATABASE_DSN" in given:
            given["LIBRARIAN_DATABASE_DSN"] = urlunsplit(self._admin)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.root), **given}

    def _placed(self, role: str, text: str) -> str:
        """`text` of that container with every path and address as it is here."""
        container = self._containers[role]
        places = {mount.target: self._volume(mount.source) for mount in container.mounts if mount.is_volume}
        if role == "secrets":
            places["/secrets"] = self.root / "secrets"
        if any(mount.target == CONFIG for mount in container.mounts):
            places[CONFIG] = self._config(container, places)
        return self._addressed(role, _replaced(text, places))

    def _volume(self, name: str) -> Path:
        """One directory for a volume, whoever mounts it. Those with secrets lie together, as in the container
        that fills them.
        """
        holder = name.removesuffix("-secrets")
        directory = self.root / name if holder == name else self.root / "secrets" / holder.partition("-")[2]
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _config(self, container: Container, places: Mapping[str, Path]) -> Path:
        """A copy of the mounted directory, for this container alone."""
        directory = self.root / "config" / container.role
        if not directory.exists():
            directory.mkdir(parents=True)
            (mount,) = (mount for mount in container.mounts if mount.target == CONFIG)
            for file in (ROOT / mount.source).iterdir():
                text = _replaced(file.read_text(), places)
                (directory / file.name).write_text(self._addressed(container.role, text))
        return directory

    def _addressed(self, role: str, text: str) -> str:
        for service in ("catalog", "store", "transfer"):
            text = text.replace(f"librarian-{service}:", "127.0.0.1:")
        text = text.replace("0.0.0.0:", "127.0.0.1:")
        for port, here in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}")
        text = text.replace(_METRICS, str(self._metrics.get(role, 0)))
        database = self._admin.path.lstrip("/")
        place = urlunsplit(self._admin._replace(scheme="", netloc=self._admin.netloc.rpartition("@")[2]))
        return text.replace(f"{_ROLE}", f"{database}_").replace(_DATABASE, place.removeprefix("//"))


def _replaced(text: str, places: Mapping[str, Path]) -> str:
    """In one pass: what was put in is not looked at again."""
    targets = sorted(places, key=len, reverse=True)
    if not targets:
        return text
    pattern = re.compile(rf"(?<![\w/.])({'|'.join(map(re.escape, targets))})(?![\w-])")
    return pattern.sub(lambda match: str(places[match[1]]), text)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
