"""docker-compose.yml, with the questions its tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from support.deployment import COMPOSE_FILE

SITES = ("summit", "lab")
CONFIG = "/etc/librarian"


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    read_only: bool

    @property
    def is_volume(self) -> bool:
        """A named one; else a path of the host."""
        return not self.source.startswith((".", "/", "~"))


@dataclass(frozen=True)
class Container:
    """A service of the compose file, which has others of that word."""

    name: str
    spec: dict[str, Any]

    @property
    def site(self) -> str:
        return self.name.partition("-")[0]

    @property
    def role(self) -> str:
        """Of summit-catalog: "catalog"."""
        return self.name.partition("-")[2]

    @property
    def is_process(self) -> bool:
        """One of ours that stays."""
        return "--config" in self.spec["command"]

    @property
    def mounts(self) -> list[Mount]:
        parts = [volume.split(":") for volume in self.spec.get("volumes", ())]
        return [Mount(part[0], part[1], read_only="ro" in part[2:]) for part in parts]

    @property
    def networks(self) -> dict[str, set[str]]:
        """{network: the names it has there}."""
        given = self.spec.get("networks", {})
        aliases = given if isinstance(given, dict) else dict.fromkeys(given)
        return {
            network: {self.name, *(options or {}).get("aliases", ())} for network, options in aliases.items()
        }

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.spec.get("environment", {}))


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return content


def containers() -> dict[str, Container]:
    return {name: Container(name, spec) for name, spec in compose()["services"].items()}


def processes() -> Iterator[Container]:
    return (container for container in containers().values() if container.is_process)
