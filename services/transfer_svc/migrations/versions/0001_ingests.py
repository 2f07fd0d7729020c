"""Ingests and idempotency records."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE ingests (
    ingest_id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    store text COLLATE "C" NOT NULL,
    staging_group text COLLATE "C" NOT NULL,
    uploader text NOT NULL,
    token_id text NOT NULL,
    size_bytes bigint NOT NULL,
    inode_count bigint NOT NULL,
    algorithm text NOT NULL,
    tags_json text NOT NULL,
    create_time_us bigint NOT NULL,
    traceparent text NOT NULL,
    begin_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    digest bytea,
    claimed_bytes bigint,
    member_count bigint,
    verified_bytes bigint NOT NULL DEFAULT 0,
    origin bytea,
    dataset_uid text COLLATE "C" NOT NULL DEFAULT '',
    error_json text NOT NULL DEFAULT '',
    settled boolean NOT NULL DEFAULT false,
    lease_owner text,
    lease_fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempt_count integer NOT NULL DEFAULT 0,
    not_before timestamptz
);
CREATE INDEX ingests_due ON ingests (state, store, not_before) WHERE NOT settled;
CREATE INDEX ingests_by_uploader ON ingests (uploader, ingest_id);

CREATE TABLE idempotency (
    caller text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    response bytea,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (caller, request_id)
);
CREATE INDEX ix_idempotency_create_time ON idempotency (create_time);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
