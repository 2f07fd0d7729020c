"""Datasets that came from elsewhere: uids apart from uploads, a copy on each of several stores; rsync.

The code before this goes on with it: it knows neither new column, and leaves them at what stands for the
way it has always been.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("stores", sa.Column("rsync_root", sa.Text(), server_default="", nullable=False))
    op.add_column("uploads", sa.Column("dataset_uid", sa.Text(collation="C"), nullable=True))
    op.create_index(
        "uploads_by_dataset",
        "uploads",
        ["dataset_uid"],
        unique=False,
        postgresql_where=sa.text("dataset_uid IS NOT NULL"),
    )
    op.add_column("holdings", sa.Column("upload_id", sa.Text(collation="C"), nullable=True))
    op.create_index(
        "holdings_by_upload",
        "holdings",
        ["upload_id"],
        unique=False,
        postgresql_where=sa.text("upload_id IS NOT NULL"),
    )
    op.drop_constraint("holdings_pkey", "holdings", type_="primary")
    op.create_primary_key("holdings_pkey", "holdings", ["uid", "store"])


def downgrade() -> None:
    op.drop_constraint("holdings_pkey", "holdings", type_="primary")
    op.create_primary_key("holdings_pkey", "holdings", ["uid"])
    op.drop_index("holdings_by_upload", "holdings")
    op.drop_column("holdings", "upload_id")
    op.drop_index("uploads_by_dataset", "uploads")
    op.drop_column("uploads", "dataset_uid")
    op.drop_column("stores", "rsync_root")
