"""What is deployed, read as the tools that deploy it would read it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
K8S = ROOT / "k8s"
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
