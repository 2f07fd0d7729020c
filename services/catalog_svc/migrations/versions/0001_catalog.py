"""Datasets, members, replicas, the event log, sums, reservations and idempotency records."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE datasets (
    uid uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    name_key text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    digest_algorithm text NOT NULL,
    digest bytea NOT NULL,
    size_bytes bigint NOT NULL,
    member_count bigint NOT NULL,
    create_time_us bigint NOT NULL,
    publish_time_us bigint NOT NULL,
    uploader text NOT NULL,
    site text NOT NULL,
    traceparent text NOT NULL,
    tags jsonb,
    origin bytea
);
CREATE UNIQUE INDEX datasets_live_name_key ON datasets (name_key) WHERE state = 1;
CREATE INDEX datasets_live_name ON datasets (name) WHERE state = 1;
CREATE INDEX datasets_live_create_time ON datasets (create_time_us, uid) WHERE state = 1;
CREATE INDEX datasets_live_uploader ON datasets (uploader, name) WHERE state = 1;
CREATE INDEX datasets_tags ON datasets USING gin (tags) WHERE tags IS NOT NULL;

CREATE TABLE replicas (
    dataset_uid uuid NOT NULL,
    store text NOT NULL,
    state smallint NOT NULL,
    state_reason text NOT NULL,
    verify_time_us bigint,
    update_time_us bigint NOT NULL,
    PRIMARY KEY (dataset_uid, store)
);
CREATE INDEX replicas_store ON replicas (store, dataset_uid);
CREATE INDEX replicas_in_trouble ON replicas (state, dataset_uid) WHERE state <> 2;

CREATE TABLE members (
    dataset_uid uuid NOT NULL,
    path text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    size_bytes bigint NOT NULL,
    checksum_algorithm text,
    checksum bytea,
    link_target text NOT NULL,
    mode integer NOT NULL,
    mtime_ns bigint NOT NULL,
    PRIMARY KEY (dataset_uid, path)
);

CREATE TABLE pending_members (
    dataset_uid uuid PRIMARY KEY,
    last_time_us bigint NOT NULL
);
CREATE INDEX ix_pending_members_last_time_us ON pending_members (last_time_us);

CREATE TABLE name_reservations (
    uid uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    subject text NOT NULL,
    reserve_time_us bigint NOT NULL
);
CREATE INDEX ix_name_reservations_reserve_time_us ON name_reservations (reserve_time_us);

CREATE TABLE events (
    sequence bigint PRIMARY KEY,
    time_us bigint NOT NULL,
    type text NOT NULL,
    dataset_uid uuid NOT NULL,
    store text NOT NULL,
    from_state smallint,
    to_state smallint NOT NULL,
    reason text NOT NULL
);
CREATE INDEX events_of_dataset ON events (dataset_uid, sequence);

CREATE TABLE site_state (
    id smallint PRIMARY KEY,
    epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    incarnation text NOT NULL
);

CREATE TABLE summaries (
    scope text COLLATE "C" NOT NULL,
    store text NOT NULL,
    state smallint NOT NULL,
    item_count bigint NOT NULL,
    size_bytes bigint NOT NULL,
    PRIMARY KEY (scope, store, state)
);

CREATE TABLE summary_scopes (
    scope text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL,
    time_us bigint,
    ask_time_us bigint NOT NULL
);

CREATE TABLE idempotency (
    caller text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    response bytea,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (caller, request_id)
);
CREATE INDEX ix_idempotency_create_time ON idempotency (create_time);

INSERT INTO site_state (id, epoch, sequence, incarnation) VALUES (1, 0, 0, '');
INSERT INTO summary_scopes (scope, sequence, time_us, ask_time_us) VALUES ('', 0, NULL, 0);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
