"""The gateway's tables, in its own schema (found by search_path)."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid, text

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

idempotency = idempotency_table(metadata)
