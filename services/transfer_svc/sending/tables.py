"""What this service remembers of what it sends."""

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

routes: Final = Table(
    "routes",
    metadata,
    Column("route_id", BYTEWISE, primary_key=True),
    Column("destination", BYTEWISE, nullable=False),
    Column("destination_kind", SmallInteger, nullable=False),
    # Empty: all names.
    Column("name_glob", Text, nullable=False),
    # A JSON object with sorted keys, or empty.
    Column("tags_json", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("max_active", Integer, nullable=False),
    Column("max_bytes_per_second", BigInteger, nullable=False),
    Column("landing", Text, nullable=False),
    Column("through", BYTEWISE, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False, server_default=text("false")),
    Column("create_time", _TIME, nullable=False),
    Column("backfill_state", SmallInteger, nullable=False),
    # The catalogue's, of the next page.
    Column("backfill_token", Text, nullable=False, server_default=text("''")),
    Column("backfilled_count", BigInteger, nullable=False, server_default=text("0")),
    Index(
        "routes_in_use",
        "destination",
        "destination_kind",
        "name_glob",
        "tags_json",
        "via",
        unique=True,
        postgresql_where=text("NOT removed"),
    ),
)

transfers: Final = Table(
    "transfers",
    metadata,
    Column("transfer_id", BYTEWISE, primary_key=True),
    Column("route_id", BYTEWISE, nullable=False),
    Column("dataset_uid", BYTEWISE, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("destination", BYTEWISE, nullable=False),
    Column("destination_kind", SmallInteger, nullable=False),
    # "link".
    Column("way", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    # Order of the queue: see sending.ranking.
    Column("rank", Double, nullable=False),
    Column("batch_id", BYTEWISE),
    Column("upload_id", BYTEWISE, nullable=False, server_default=text("''")),
    Column("moved_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("bytes_per_second", BigInteger, nullable=False, server_default=text("0")),
    # Failures in a row for the same reason.
    Column("attempt_count", Integer, nullable=False, server_default=text("0")),
    Column("plan_time", _TIME, nullable=False),
    Column("state_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    # QUEUED and put off: when it is tried again. Null while it may go.
    Column("not_before", _TIME),
    Column("error_json", Text, nullable=False, server_default=text("''")),
    Index(
        "transfers_active",
        "dataset_uid",
        "destination",
        "destination_kind",
        "way",
        unique=True,
        postgresql_where=text("state IN (1, 2, 3, 4, 5, 7)"),
    ),
    Index("transfers_of_dataset", "dataset_uid", "destination"),
    # The queue, and those of it that wait for a time: a long backlog of either costs the other nothing.
    Index("transfers_waiting", "route_id", "rank", postgresql_where=text("state = 2 AND not_before IS NULL")),
    Index("transfers_put_off", "not_before", postgresql_where=text("state = 2 AND not_before IS NOT NULL")),
    Index("transfers_of_batch", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    Index("transfers_live", "route_id", "state", postgresql_where=text("state IN (1, 3, 4, 5, 7, 8)")),
)

transfer_log: Final = Table(
    "transfer_log",
    metadata,
    Column("transfer_id", BYTEWISE, primary_key=True),
    Column("log_id", BigInteger, Identity(always=True), primary_key=True),
    Column("time", _TIME, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("message", Text, nullable=False, server_default=text("''")),
)

batches: Final = Table(
    "batches",
    metadata,
    Column("batch_id", BYTEWISE, primary_key=True),
    Column("route_id", BYTEWISE, nullable=False),
    Column("destination", BYTEWISE, nullable=False),
    Column("destination_kind", SmallInteger, nullable=False),
    Column("via", Text, nullable=False),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    # Something in it is still to be moved: it takes one of the mover's places.
    Column("moving", Boolean, nullable=False, server_default=text("true")),
    # The OfferRequest as it was first sent, to be sent again as it is. Null before, and once done.
    Column("offer", LargeBinary),
    # The mover's.
    Column("handle", Text, nullable=False, server_default=text("''")),
    Column("create_time", _TIME, nullable=False),
    *lease_columns(),
    Index("batches_open", "route_id", postgresql_where=text("NOT done")),
)

# One row: how far the event log has been read, and who reads it.
planner: Final = Table(
    "planner",
    metadata,
    Column("planner_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("sequence", BigInteger, nullable=False, server_default=text("0")),
    *lease_columns(),
)

# What is known of the way to each destination.
links: Final = Table(
    "links",
    metadata,
    Column("destination", BYTEWISE, primary_key=True),
    Column("destination_kind", SmallInteger, primary_key=True, autoincrement=False),
    # In a row; 0: it works, as far as is known.
    Column("failure_count", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("since_time", _TIME),
    # When one who asks may try it again.
    Column("next_time", _TIME),
    Column("last_success_time", _TIME),
    # Of a peer: how far its receipts have been read, and when one is next to read on.
    Column("receipts_epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("receipts_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("receipts_cursor_us", BigInteger, nullable=False, server_default=text("0")),
    Column("receipts_time", _TIME),
)
