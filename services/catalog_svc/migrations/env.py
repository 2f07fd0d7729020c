"""Alembic's entry; svckit does the rest."""

from catalog_svc.tables import metadata
from svckit.migrations import run_env

run_env(metadata)
