"""What this service remembers of disks and shipments. Both ends of a shipment keep the same rows."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from svckit.leases import lease_columns
from transfer_svc.tables import BYTEWISE, metadata

_TIME = DateTime(timezone=True)

# Known for life: never removed.
disks: Final = Table(
    "disks",
    metadata,
    Column("disk_id", BYTEWISE, primary_key=True),
    Column("label", BYTEWISE, nullable=False),
    Column("serial", Text, nullable=False),
    Column("owner_site", BYTEWISE, nullable=False),
    Column("capacity_bytes", BigInteger, nullable=False),
    Column("file_system", Text, nullable=False, server_default=text("''")),
    # A serialised Medium; null where it was never plugged in here.
    Column("medium", LargeBinary),
    Column("failure_domain", Text, nullable=False),
    Column("fill_fraction", Double, nullable=False),
    # A serialised Signed of type "librarian.disk".
    Column("statement", LargeBinary, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("last_seen_time", _TIME),
    Column("last_seen_site", BYTEWISE, nullable=False, server_default=text("''")),
    Column("last_seen_path", Text, nullable=False, server_default=text("''")),
    Column("carrier", Text, nullable=False, server_default=text("''")),
    Column("health", Text, nullable=False, server_default=text("''")),
    Column("kept_as_store", BYTEWISE, nullable=False, server_default=text("''")),
    Index("disks_by_label", "label"),
    Index("disks_by_serial", "serial"),
)

disk_log: Final = Table(
    "disk_log",
    metadata,
    Column("disk_id", BYTEWISE, primary_key=True),
    Column("log_id", BigInteger, Identity(always=True), primary_key=True),
    Column("time", _TIME, nullable=False),
    # Who wrote it: this site, or another whose word came with the disk.
    Column("site", BYTEWISE, nullable=False),
    Column("event", Text, nullable=False),
    Column("who", Text, nullable=False, server_default=text("''")),
    Column("message", Text, nullable=False, server_default=text("''")),
    Column("shipment_id", BYTEWISE, nullable=False, server_default=text("''")),
    Index("disk_log_of_shipment", "shipment_id", "time", postgresql_where=text("shipment_id <> ''")),
)

shipments: Final = Table(
    "shipments",
    metadata,
    Column("shipment_id", BYTEWISE, primary_key=True),
    Column("from_site", BYTEWISE, nullable=False),
    Column("to_site", BYTEWISE, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("who", Text, nullable=False, server_default=text("''")),
    Column("comment", Text, nullable=False, server_default=text("''")),
    Index("shipments_by_time", "create_time", "shipment_id"),
)

consignments: Final = Table(
    "consignments",
    metadata,
    Column("shipment_id", BYTEWISE, primary_key=True),
    Column("disk_id", BYTEWISE, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # As sealed; the sender's sums of what is assigned before that.
    Column("dataset_count", BigInteger, nullable=False, server_default=text("0")),
    Column("file_count", BigInteger, nullable=False, server_default=text("0")),
    Column("size_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("extra_count", BigInteger, nullable=False, server_default=text("0")),
    # A serialised Signed of type "librarian.shipment", as it was made or came; null before it is sealed. Its
    # list is in `manifest_parts`.
    Column("statement", LargeBinary),
    Column("carrier", Text, nullable=False, server_default=text("''")),
    Column("announced", Boolean, nullable=False, server_default=text("false")),
    Column("state_time", _TIME, nullable=False),
    Column("seal_time", _TIME),
    Column("depart_time", _TIME),
    Column("expected_time", _TIME),
    Column("arrive_time", _TIME),
    Column("reconcile_time", _TIME),
    Column("error_json", Text, nullable=False, server_default=text("''")),
    Index("consignments_of_disk", "disk_id", "state"),
    # Neither RELEASED nor LOST nor CANCELLED.
    Index("consignments_open", "state", postgresql_where=text("state < 8")),
)

# The list that a statement names, compressed (zlib) in parts of 1 MiB of the list each.
manifest_parts: Final = Table(
    "manifest_parts",
    metadata,
    Column("shipment_id", BYTEWISE, primary_key=True),
    Column("disk_id", BYTEWISE, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

cargo: Final = Table(
    "cargo",
    metadata,
    Column("shipment_id", BYTEWISE, primary_key=True),
    Column("disk_id", BYTEWISE, primary_key=True),
    Column("dataset_uid", BYTEWISE, primary_key=True),
    Column("name", BYTEWISE, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("member_count", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # shipment.v1.PackedAs; 0 before it is packed.
    Column("packed_as", SmallInteger, nullable=False, server_default=text("0")),
    # The sender's transfer that it carries out; empty at the receiver.
    Column("transfer_id", BYTEWISE, nullable=False, server_default=text("''")),
    # A serialised CargoNews: what is damaged; null while nothing is.
    Column("damages", LargeBinary),
    Column("damage_count", BigInteger, nullable=False, server_default=text("0")),
    Column("error_json", Text, nullable=False, server_default=text("''")),
    Column("update_time", _TIME, nullable=False),
    Index("cargo_by_name", "shipment_id", "disk_id", "name"),
    Index("cargo_of_dataset", "dataset_uid"),
    # Not OK, PRESENT or REQUEUED.
    Index("cargo_owed", "disk_id", postgresql_where=text("state NOT IN (3, 4, 9)")),
)

disk_jobs: Final = Table(
    "disk_jobs",
    metadata,
    Column("job_id", BYTEWISE, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("path", Text, nullable=False),
    # Empty where the disk is not known before it is looked at.
    Column("disk_id", BYTEWISE, nullable=False, server_default=text("''")),
    Column("shipment_id", BYTEWISE, nullable=False, server_default=text("''")),
    # The serialised request that asked for it, of the type its kind tells.
    Column("request", LargeBinary, nullable=False),
    # Subject of the token that asked.
    Column("who", Text, nullable=False),
    Column("step", Text, nullable=False, server_default=text("''")),
    Column("done_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("total_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("done_count", BigInteger, nullable=False, server_default=text("0")),
    Column("total_count", BigInteger, nullable=False, server_default=text("0")),
    Column("bytes_per_second", BigInteger, nullable=False, server_default=text("0")),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("error_json", Text, nullable=False, server_default=text("''")),
    # Lines for people, joined by line feeds.
    Column("results", Text, nullable=False, server_default=text("''")),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    *lease_columns(),
    # At one path one at a time.
    Index("disk_jobs_at_path", "path", unique=True, postgresql_where=text("state IN (1, 2)")),
    Index("disk_jobs_open", "state", "not_before", postgresql_where=text("state IN (1, 2)")),
)
