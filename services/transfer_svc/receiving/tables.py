"""What this service remembers of peers and of what they bring."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from transfer_svc.tables import BYTEWISE, metadata

# As the gateway told them last; all of them, with those that were removed.
peers: Final = Table(
    "peers",
    metadata,
    Column("name", BYTEWISE, primary_key=True),
    Column("peer_id", BYTEWISE, nullable=False),
    Column("address", Text, nullable=False),
    Column("insecure", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),
    # A JSON object of key id to the base64 of 32 raw bytes.
    Column("keys_json", Text, nullable=False),
    # Of the list it was told in.
    Column("revision", BigInteger, nullable=False),
)

# Keys of sites that are no peers, in the word of one that is.
introduced_keys: Final = Table(
    "introduced_keys",
    metadata,
    Column("site", BYTEWISE, primary_key=True),
    Column("key_id", BYTEWISE, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("via_peer", BYTEWISE, nullable=False),
    # A serialised Signed of type "librarian.introduction".
    Column("statement", LargeBinary, nullable=False),
    Column("record_time", DateTime(timezone=True), nullable=False),
)

# One row a batch. `peer` is empty for this site's own workers, here and below.
offers: Final = Table(
    "offers",
    metadata,
    Column("peer", BYTEWISE, primary_key=True),
    Column("batch_id", BYTEWISE, primary_key=True),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("delivery_id", BYTEWISE, primary_key=True),
    Column("peer", BYTEWISE, nullable=False),
    Column("batch_id", BYTEWISE, nullable=False),
    # In the offer.
    Column("position", Integer, nullable=False),
    # As offered.
    Column("uid", BYTEWISE, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("digest_algorithm", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("member_count", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # The ingest that brings it; empty where nothing was reserved.
    Column("upload_id", BYTEWISE, nullable=False, server_default=text("''")),
    # A serialised Signed of type "librarian.receipt".
    Column("receipt", LargeBinary),
    # Why it was refused, failed or expired: an ItemError as JSON.
    Column("error_json", Text, nullable=False, server_default=text("''")),
    Column("accept_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    UniqueConstraint("peer", "batch_id", "uid"),
    # What became of an ingest is told to its delivery.
    Index("deliveries_open", "upload_id", postgresql_where=text("state <= 4")),
    Index("deliveries_of_dataset", "uid", "peer"),
    Index("deliveries_of_peer", "peer", "delivery_id"),
    # Most are RECEIPTED, and nobody lists those by their state.
    Index("deliveries_by_state", "state", "delivery_id", postgresql_where=text("state <> 5")),
)
