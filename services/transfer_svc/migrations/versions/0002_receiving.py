"""What other sites bring: peers as told by the gateway, offers, deliveries; ingests of foreign birth."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

# The code running before this knows nothing of the new columns: they have defaults that mean "as before".
TABLES = """
ALTER TABLE ingests
    ADD COLUMN target_uid text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN origin_site text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN upload_void boolean NOT NULL DEFAULT false;
CREATE INDEX ingests_arriving ON ingests (target_uid) WHERE NOT settled AND target_uid <> '';

CREATE TABLE peers (
    name text COLLATE "C" PRIMARY KEY,
    peer_id text COLLATE "C" NOT NULL,
    address text NOT NULL,
    insecure boolean NOT NULL,
    paused boolean NOT NULL,
    removed boolean NOT NULL,
    keys_json text NOT NULL,
    revision bigint NOT NULL
);

CREATE TABLE introduced_keys (
    site text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    via_peer text COLLATE "C" NOT NULL,
    statement bytea NOT NULL,
    record_time timestamptz NOT NULL,
    PRIMARY KEY (site, key_id)
);

CREATE TABLE offers (
    peer text COLLATE "C" NOT NULL,
    batch_id text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (peer, batch_id)
);

CREATE TABLE deliveries (
    delivery_id text COLLATE "C" PRIMARY KEY,
    peer text COLLATE "C" NOT NULL,
    batch_id text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    uid text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    digest_algorithm text NOT NULL,
    digest bytea NOT NULL,
    size_bytes bigint NOT NULL,
    member_count bigint NOT NULL,
    state smallint NOT NULL,
    upload_id text COLLATE "C" NOT NULL DEFAULT '',
    receipt bytea,
    error_json text NOT NULL DEFAULT '',
    accept_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    UNIQUE (peer, batch_id, uid)
);
CREATE INDEX deliveries_open ON deliveries (upload_id) WHERE state <= 4;
CREATE INDEX deliveries_of_dataset ON deliveries (uid, peer);
CREATE INDEX deliveries_of_peer ON deliveries (peer, delivery_id);
CREATE INDEX deliveries_by_state ON deliveries (state, delivery_id) WHERE state <> 5
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
