"""Stores, uploads, holdings, tickets.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.Text(collation="C"), nullable=False),
        sa.Column("request_id", sa.Text(collation="C"), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id"),
    )
    op.create_index(op.f("ix_idempotency_create_time"), "idempotency", ["create_time"], unique=False)
    op.create_table(
        "revoked_tokens",
        sa.Column("token_id", sa.Text(collation="C"), nullable=False),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_id"),
    )
    op.create_table(
        "stores",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("store_uid", sa.Text(collation="C"), nullable=False),
        sa.Column("root", sa.Text(collation="C"), nullable=False),
        sa.Column("store_class", sa.SmallInteger(), nullable=False),
        sa.Column("failure_domain", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("ingestible", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("fill_fraction", sa.Double(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("max_inodes", sa.BigInteger(), nullable=False),
        sa.Column("file_mode", sa.Integer(), nullable=False),
        sa.Column("directory_mode", sa.Integer(), nullable=False),
        sa.Column("staging_mode", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("client_root", sa.Text(), nullable=False),
        sa.Column("capabilities", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("held_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_inodes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("root"),
        sa.UniqueConstraint("store_uid"),
    )
    op.create_table(
        "ticket_secrets",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "holdings",
        sa.Column("uid", sa.Text(collation="C"), nullable=False),
        sa.Column("store", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("member_count", sa.BigInteger(), nullable=False),
        sa.Column("inode_count", sa.BigInteger(), nullable=False),
        sa.Column("layout", sa.LargeBinary(), nullable=False),
        sa.Column("inodes", sa.LargeBinary(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("verify_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["store"],
            ["stores.name"],
        ),
        sa.PrimaryKeyConstraint("uid"),
    )
    op.create_index("holdings_by_name", "holdings", ["store", "name"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.Text(collation="C"), nullable=False),
        sa.Column("store", sa.Text(collation="C"), nullable=False),
        sa.Column("area", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_inodes", sa.BigInteger(), nullable=False),
        sa.Column("written_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("begin_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claim_digest", sa.LargeBinary(), nullable=True),
        sa.Column("claim_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("claim_member_count", sa.BigInteger(), nullable=True),
        sa.Column("facts_json", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("member_count", sa.BigInteger(), nullable=True),
        sa.Column("inode_count", sa.BigInteger(), nullable=True),
        sa.Column("inode", sa.BigInteger(), nullable=True),
        sa.Column("layout", sa.LargeBinary(), nullable=True),
        sa.Column("inodes", sa.LargeBinary(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("cleaned", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(
            ["store"],
            ["stores.name"],
        ),
        sa.PrimaryKeyConstraint("upload_id"),
    )
    op.create_index("uploads_by_area", "uploads", ["area"], unique=False)
    op.create_index("uploads_by_name", "uploads", ["store", "name"], unique=False)
    op.create_index("uploads_by_state", "uploads", ["store", "state"], unique=False)


def downgrade() -> None:
    op.drop_table("uploads")
    op.drop_table("holdings")
    op.drop_table("ticket_secrets")
    op.drop_table("stores")
    op.drop_table("revoked_tokens")
    op.drop_table("idempotency")
