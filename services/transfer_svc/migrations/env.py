"""Alembic's entry; svckit does the rest."""

from svckit.migrations import run_env
from transfer_svc.tables import metadata

run_env(metadata)
