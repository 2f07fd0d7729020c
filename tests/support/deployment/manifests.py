"""Rendered manifests, and questions to ask of them."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.deployment import K8S
from support.deployment.kubectl import kubectl

Manifest = dict[str, Any]
OVERLAYS = ("generic", "spin")


@functools.cache
def rendered_text(directory: Path, tool: Path | None = None) -> str:
    command = [tool or kubectl(), "kustomize", directory]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    # Deprecated fields are only warned of.
    assert not ended.stderr, ended.stderr
    return ended.stdout


def rendered(overlay: str) -> list[Manifest]:
    """Fresh each time: tests spoil them on purpose."""
    return list(yaml.safe_load_all(rendered_text(K8S / "overlays" / overlay)))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def name_of(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (manifest for manifest in of_kind(manifests, kind) if name_of(manifest) == name)
    return found


@dataclass(frozen=True)
class Pod:
    """`owner`: the name of what makes it."""

    owner: str
    kind: str
    labels: Mapping[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def service(self) -> str:
        """Of librarian-catalog: "catalog"."""
        return self.owner.removeprefix("librarian-")

    @property
    def is_ours(self) -> bool:
        """Runs our image."""
        return self.kind == "Deployment"


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job"):
        template = manifest["spec"]["template"]
        yield Pod(name_of(manifest), manifest["kind"], template["metadata"]["labels"], template["spec"])


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()
