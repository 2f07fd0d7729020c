"""Alembic's entry; svckit does the rest."""

from gateway.tables import metadata
from svckit.migrations import run_env

run_env(metadata)
