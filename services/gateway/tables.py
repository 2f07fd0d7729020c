"""The gateway's tables, in its own schema (found by search_path)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

from svckit.idempotency import idempotency_table

metadata = MetaData()

tokens = Table(
    "tokens",
    metadata,
    # UUIDv7: in the order of their making.
    Column("token_id", Uuid(as_uuid=False), primary_key=True),
    # The secret itself is nowhere.
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("name_prefix", Text(collation="C"), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("expire_time", DateTime(timezone=True)),
    Column("revoke_time", DateTime(timezone=True)),
    # With the gateway's key file it makes the secret again for a repeated IssueToken; gone after 7 days.
    Column("replay_salt", LargeBinary),
)

# What the store services must still be told: refuse the tickets of this token. A row goes when its
# store service has answered.
ticket_revocations = Table(
    "ticket_revocations",
    metadata,
    Column("token_id", Uuid(as_uuid=False), primary_key=True),
    Column("store_service", Text(collation="C"), primary_key=True),
    Column("request_id", Uuid(as_uuid=False), nullable=False),
    Column("attempt_count", Integer, nullable=False, server_default=text("0")),
    Column("not_before", DateTime(timezone=True), nullable=False),
    Index("ticket_revocations_due", "store_service", "not_before"),
)

peers = Table(
    "peers",
    metadata,
    # UUIDv7: in the order of their joining. A site that was removed and joins again is another record.
    Column("record_id", Uuid(as_uuid=False), primary_key=True),
    Column("peer_id", Uuid(as_uuid=False), nullable=False, unique=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("address", Text, nullable=False),
    Column("insecure", Boolean, nullable=False),
    # What it last said itself: an address that was set here stays until it says another one.
    Column("told_address", Text, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("join_time", DateTime(timezone=True), nullable=False),
    Column("remove_time", DateTime(timezone=True)),
    # Null: not called yet.
    Column("link_up", Boolean),
    Column("link_reason", Text, nullable=False, server_default=text("''")),
    Column("link_since_time", DateTime(timezone=True)),
    Column("heard_time", DateTime(timezone=True)),
    Column("reached_time", DateTime(timezone=True)),
    Column("clock_offset_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("version", Text, nullable=False, server_default=text("''")),
    Index("peers_live", "name", unique=True, postgresql_where=text("remove_time IS NULL")),
)

peer_keys = Table(
    "peer_keys",
    metadata,
    Column("record_id", Uuid(as_uuid=False), ForeignKey("peers.record_id"), primary_key=True),
    Column("key_id", Text(collation="C"), primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("pin_time", DateTime(timezone=True), nullable=False),
    # Until when it opens sessions, once another one has taken its place.
    Column("expire_time", DateTime(timezone=True)),
)

# The secret comes of the salt and the gateway's key file.
invitations = Table(
    "invitations",
    metadata,
    Column("invite_id", Uuid(as_uuid=False), primary_key=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    # The key that redeemed it; "" for none yet.
    Column("used_by", Text(collation="C"), nullable=False, server_default=text("''")),
)

# One row, locked by whoever changes peers: `revision` grows in the order of the changes.
peer_changes = Table(
    "peer_changes",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False),
)

idempotency = idempotency_table(metadata)
