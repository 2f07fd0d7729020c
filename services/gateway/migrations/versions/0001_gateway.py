"""Tokens, what store services must be told of their ends, and idempotency records."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE tokens (
    token_id uuid PRIMARY KEY,
    secret_sha256 bytea NOT NULL UNIQUE,
    subject text NOT NULL,
    role text NOT NULL,
    name_prefix text COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL,
    expire_time timestamptz,
    revoke_time timestamptz,
    replay_salt bytea
);

CREATE TABLE ticket_revocations (
    token_id uuid NOT NULL,
    store_service text COLLATE "C" NOT NULL,
    request_id uuid NOT NULL,
    attempt_count integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL,
    PRIMARY KEY (token_id, store_service)
);
CREATE INDEX ticket_revocations_due ON ticket_revocations (store_service, not_before);

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
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
