"""Shipping: disks and their past, shipments, what lies on each disk, jobs at disks."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE disks (
    disk_id text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    serial text NOT NULL,
    owner_site text COLLATE "C" NOT NULL,
    capacity_bytes bigint NOT NULL,
    file_system text DEFAULT '' NOT NULL,
    medium bytea,
    failure_domain text NOT NULL,
    fill_fraction double precision NOT NULL,
    statement bytea NOT NULL,
    create_time timestamptz NOT NULL,
    last_seen_time timestamptz,
    last_seen_site text COLLATE "C" DEFAULT '' NOT NULL,
    last_seen_path text DEFAULT '' NOT NULL,
    carrier text DEFAULT '' NOT NULL,
    health text DEFAULT '' NOT NULL,
    kept_as_store text COLLATE "C" DEFAULT '' NOT NULL,
    PRIMARY KEY (disk_id)
);
CREATE INDEX disks_by_label ON disks (label);
CREATE INDEX disks_by_serial ON disks (serial);

CREATE TABLE disk_log (
    disk_id text COLLATE "C" NOT NULL,
    log_id bigint GENERATED ALWAYS AS IDENTITY,
    time timestamptz NOT NULL,
    site text COLLATE "C" NOT NULL,
    event text NOT NULL,
    who text DEFAULT '' NOT NULL,
    message text DEFAULT '' NOT NULL,
    shipment_id text COLLATE "C" DEFAULT '' NOT NULL,
    PRIMARY KEY (disk_id, log_id)
);
CREATE INDEX disk_log_of_shipment ON disk_log (shipment_id, time) WHERE shipment_id <> '';

CREATE TABLE shipments (
    shipment_id text COLLATE "C" NOT NULL,
    from_site text COLLATE "C" NOT NULL,
    to_site text COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL,
    who text DEFAULT '' NOT NULL,
    comment text DEFAULT '' NOT NULL,
    PRIMARY KEY (shipment_id)
);
CREATE INDEX shipments_by_time ON shipments (create_time, shipment_id);

CREATE TABLE consignments (
    shipment_id text COLLATE "C" NOT NULL,
    disk_id text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    state smallint NOT NULL,
    dataset_count bigint DEFAULT 0 NOT NULL,
    file_count bigint DEFAULT 0 NOT NULL,
    size_bytes bigint DEFAULT 0 NOT NULL,
    extra_count bigint DEFAULT 0 NOT NULL,
    statement bytea,
    carrier text DEFAULT '' NOT NULL,
    announced boolean DEFAULT false NOT NULL,
    state_time timestamptz NOT NULL,
    seal_time timestamptz,
    depart_time timestamptz,
    expected_time timestamptz,
    arrive_time timestamptz,
    reconcile_time timestamptz,
    error_json text DEFAULT '' NOT NULL,
    PRIMARY KEY (shipment_id, disk_id)
);
CREATE INDEX consignments_of_disk ON consignments (disk_id, state);
CREATE INDEX consignments_open ON consignments (state) WHERE state < 8;

CREATE TABLE manifest_parts (
    shipment_id text COLLATE "C" NOT NULL,
    disk_id text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (shipment_id, disk_id, part)
);

CREATE TABLE cargo (
    shipment_id text COLLATE "C" NOT NULL,
    disk_id text COLLATE "C" NOT NULL,
    dataset_uid text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    size_bytes bigint NOT NULL,
    member_count bigint NOT NULL,
    state smallint NOT NULL,
    packed_as smallint DEFAULT 0 NOT NULL,
    transfer_id text COLLATE "C" DEFAULT '' NOT NULL,
    damages bytea,
    damage_count bigint DEFAULT 0 NOT NULL,
    error_json text DEFAULT '' NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (shipment_id, disk_id, dataset_uid)
);
CREATE INDEX cargo_by_name ON cargo (shipment_id, disk_id, name);
CREATE INDEX cargo_of_dataset ON cargo (dataset_uid);
CREATE INDEX cargo_owed ON cargo (disk_id) WHERE state NOT IN (3, 4, 9);

CREATE TABLE disk_jobs (
    job_id text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    path text NOT NULL,
    disk_id text COLLATE "C" DEFAULT '' NOT NULL,
    shipment_id text COLLATE "C" DEFAULT '' NOT NULL,
    request bytea NOT NULL,
    who text NOT NULL,
    step text DEFAULT '' NOT NULL,
    done_bytes bigint DEFAULT 0 NOT NULL,
    total_bytes bigint DEFAULT 0 NOT NULL,
    done_count bigint DEFAULT 0 NOT NULL,
    total_count bigint DEFAULT 0 NOT NULL,
    bytes_per_second bigint DEFAULT 0 NOT NULL,
    note text DEFAULT '' NOT NULL,
    error_json text DEFAULT '' NOT NULL,
    results text DEFAULT '' NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    lease_owner text,
    lease_fence bigint DEFAULT 0 NOT NULL,
    lease_until timestamptz,
    attempt_count integer DEFAULT 0 NOT NULL,
    not_before timestamptz,
    PRIMARY KEY (job_id)
);
CREATE UNIQUE INDEX disk_jobs_at_path ON disk_jobs (path) WHERE state IN (1, 2);
CREATE INDEX disk_jobs_open ON disk_jobs (state, not_before) WHERE state IN (1, 2)
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
