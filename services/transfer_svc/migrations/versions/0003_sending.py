"""Sending: routes, transfers with their log, batches, the planner's place in the event log, links."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE routes (
    route_id text COLLATE "C" PRIMARY KEY,
    destination text COLLATE "C" NOT NULL,
    destination_kind smallint NOT NULL,
    name_glob text NOT NULL,
    tags_json text NOT NULL,
    via text NOT NULL,
    priority integer NOT NULL,
    max_active integer NOT NULL,
    max_bytes_per_second bigint NOT NULL,
    landing text NOT NULL,
    through text COLLATE "C" NOT NULL,
    paused boolean NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    create_time timestamptz NOT NULL,
    backfill_state smallint NOT NULL,
    backfill_token text NOT NULL DEFAULT '',
    backfilled_count bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX routes_in_use ON routes (destination, destination_kind, name_glob, tags_json, via)
    WHERE NOT removed;

CREATE TABLE transfers (
    transfer_id text COLLATE "C" PRIMARY KEY,
    route_id text COLLATE "C" NOT NULL,
    dataset_uid text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    size_bytes bigint NOT NULL,
    destination text COLLATE "C" NOT NULL,
    destination_kind smallint NOT NULL,
    way text NOT NULL,
    via text NOT NULL,
    state smallint NOT NULL,
    priority integer NOT NULL,
    -- Order of the queue: when it was planned, less a head start for its priority. Fixed, so an index
    -- serves it, and what waits long enough comes before any newer one.
    rank double precision NOT NULL,
    batch_id text COLLATE "C",
    upload_id text COLLATE "C" NOT NULL DEFAULT '',
    moved_bytes bigint NOT NULL DEFAULT 0,
    bytes_per_second bigint NOT NULL DEFAULT 0,
    attempt_count integer NOT NULL DEFAULT 0,
    plan_time timestamptz NOT NULL,
    state_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    not_before timestamptz,
    error_json text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX transfers_active ON transfers (dataset_uid, destination, destination_kind, way)
    WHERE state IN (1, 2, 3, 4, 5, 7);
CREATE INDEX transfers_of_dataset ON transfers (dataset_uid, destination);
-- The queue, and those of it that wait for a time; so that a long backlog of either costs the other nothing.
CREATE INDEX transfers_waiting ON transfers (route_id, rank) WHERE state = 2 AND not_before IS NULL;
CREATE INDEX transfers_put_off ON transfers (not_before) WHERE state = 2 AND not_before IS NOT NULL;
CREATE INDEX transfers_of_batch ON transfers (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX transfers_live ON transfers (route_id, state) WHERE state IN (1, 3, 4, 5, 7, 8);

CREATE TABLE transfer_log (
    transfer_id text COLLATE "C" NOT NULL,
    log_id bigint GENERATED ALWAYS AS IDENTITY,
    time timestamptz NOT NULL,
    state smallint NOT NULL,
    event text NOT NULL,
    reason text NOT NULL DEFAULT '',
    message text NOT NULL DEFAULT '',
    PRIMARY KEY (transfer_id, log_id)
);

CREATE TABLE batches (
    batch_id text COLLATE "C" PRIMARY KEY,
    route_id text COLLATE "C" NOT NULL,
    destination text COLLATE "C" NOT NULL,
    destination_kind smallint NOT NULL,
    via text NOT NULL,
    done boolean NOT NULL DEFAULT false,
    -- Something in it is still to be moved: it takes one of the mover's places.
    moving boolean NOT NULL DEFAULT true,
    -- The OfferRequest as it was first sent, to be sent again as it is. Null before, and once done.
    offer bytea,
    handle text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL,
    lease_owner text,
    lease_fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempt_count integer NOT NULL DEFAULT 0,
    not_before timestamptz
);
CREATE INDEX batches_open ON batches (route_id) WHERE NOT done;

CREATE TABLE planner (
    planner_id smallint PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    sequence bigint NOT NULL DEFAULT 0,
    lease_owner text,
    lease_fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempt_count integer NOT NULL DEFAULT 0,
    not_before timestamptz
);
INSERT INTO planner (planner_id) VALUES (1);

CREATE TABLE links (
    destination text COLLATE "C" NOT NULL,
    destination_kind smallint NOT NULL,
    failure_count integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    since_time timestamptz,
    next_time timestamptz,
    last_success_time timestamptz,
    receipts_epoch bigint NOT NULL DEFAULT 0,
    receipts_sequence bigint NOT NULL DEFAULT 0,
    receipts_cursor_us bigint NOT NULL DEFAULT 0,
    receipts_time timestamptz,
    PRIMARY KEY (destination, destination_kind)
)
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
