"""Receipts of other sites and what they say about copies there; events may have details."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
ALTER TABLE events ADD COLUMN details text;

CREATE TABLE receipts (
    digest bytea PRIMARY KEY,
    sequence bigint NOT NULL UNIQUE,
    dataset_uid uuid NOT NULL,
    receipt bytea NOT NULL,
    via_site text NOT NULL
);
CREATE INDEX receipts_of_dataset ON receipts (dataset_uid, sequence);

CREATE TABLE remote_replicas (
    dataset_uid uuid NOT NULL,
    site text NOT NULL,
    store text NOT NULL,
    store_class text NOT NULL,
    failure_domain text NOT NULL,
    verify_time_us bigint NOT NULL,
    sign_time_us bigint NOT NULL,
    record_time_us bigint NOT NULL,
    via_site text NOT NULL,
    receipt_digest bytea NOT NULL,
    PRIMARY KEY (dataset_uid, site, store)
);
CREATE INDEX remote_replicas_site ON remote_replicas (site, dataset_uid);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
