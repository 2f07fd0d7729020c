"""Other sites: who they are by key, where they are reached, how the link is; invitations."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE peers (
    record_id uuid PRIMARY KEY,
    peer_id uuid NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    address text NOT NULL,
    insecure boolean NOT NULL,
    told_address text NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    join_time timestamptz NOT NULL,
    remove_time timestamptz,
    link_up boolean,
    link_reason text NOT NULL DEFAULT '',
    link_since_time timestamptz,
    heard_time timestamptz,
    reached_time timestamptz,
    clock_offset_ms bigint NOT NULL DEFAULT 0,
    version text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX peers_live ON peers (name) WHERE remove_time IS NULL;

CREATE TABLE peer_keys (
    record_id uuid NOT NULL REFERENCES peers,
    key_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    pin_time timestamptz NOT NULL,
    expire_time timestamptz,
    PRIMARY KEY (record_id, key_id)
);

CREATE TABLE invitations (
    invite_id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    salt bytea NOT NULL,
    expire_time timestamptz NOT NULL,
    used_by text COLLATE "C" NOT NULL DEFAULT ''
);

CREATE TABLE peer_changes (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL
);
INSERT INTO peer_changes (revision) VALUES (0);
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
