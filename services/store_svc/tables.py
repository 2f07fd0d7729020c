"""The store's schema. Names and ids sort as bytes; times are UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from svckit.idempotency import idempotency_table

metadata = MetaData()


def _text() -> Text:
    return Text(collation="C")


def _store_column() -> Column[str]:
    return Column("store", _text(), ForeignKey("stores.name"), nullable=False)


stores = Table(
    "stores",
    metadata,
    Column("name", _text(), primary_key=True),
    Column("store_uid", _text(), nullable=False, unique=True),
    Column("root", _text(), nullable=False, unique=True),
    Column("store_class", SmallInteger, nullable=False),
    Column("failure_domain", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("ingestible", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("fill_fraction", Double, nullable=False),
    Column("max_bytes", BigInteger, nullable=False),
    Column("max_inodes", BigInteger, nullable=False),
    Column("file_mode", Integer, nullable=False),
    Column("directory_mode", Integer, nullable=False),
    Column("staging_mode", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("read_only", Boolean, nullable=False),
    Column("client_root", Text, nullable=False),
    Column("capabilities", JSONB, nullable=False),
    Column("rsync_root", Text, nullable=False, server_default=""),
    # Sums over holdings, kept in the transactions that change them: counting 10^6 rows takes too long.
    Column("held_count", BigInteger, nullable=False, server_default="0"),
    Column("held_bytes", BigInteger, nullable=False, server_default="0"),
    Column("held_inodes", BigInteger, nullable=False, server_default="0"),
)

# Rows go at confirmation (the holding stays); those given up stay for a week, to answer repeated calls.
uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", _text(), primary_key=True),
    # The dataset's uid to be, where that is another than the upload's; else null.
    Column("dataset_uid", _text()),
    _store_column(),
    Column("area", _text(), nullable=False),
    Column("name", _text(), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("reserved_bytes", BigInteger, nullable=False),
    Column("reserved_inodes", BigInteger, nullable=False),
    # How much of the reservation the file system's own figures already show.
    Column("written_bytes", BigInteger, nullable=False, server_default="0"),
    Column("state", SmallInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("begin_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Column("claim_digest", LargeBinary),
    Column("claim_size_bytes", BigInteger),
    Column("claim_member_count", BigInteger),
    Column("facts_json", Text),
    Column("digest", LargeBinary),
    Column("size_bytes", BigInteger),
    Column("member_count", BigInteger),
    Column("inode_count", BigInteger),
    Column("inode", BigInteger),
    Column("layout", LargeBinary),
    Column("inodes", LargeBinary),
    Column("mtime_ns", BigInteger),
    Column("error", JSONB),
    # FAILED, ABORTED, EXPIRED: nothing of it is left on the store.
    Column("cleaned", Boolean, nullable=False, server_default="false"),
    Index("uploads_by_state", "store", "state"),
    Index("uploads_by_name", "store", "name"),
    Index("uploads_by_area", "area"),
    Index("uploads_by_dataset", "dataset_uid", postgresql_where=text("dataset_uid IS NOT NULL")),
)

holdings = Table(
    "holdings",
    metadata,
    Column("uid", _text(), primary_key=True),
    Column("store", _text(), ForeignKey("stores.name"), primary_key=True),
    # The upload that brought it, where that was named otherwise than the dataset; else null.
    Column("upload_id", _text()),
    Column("name", _text(), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("member_count", BigInteger, nullable=False),
    Column("inode_count", BigInteger, nullable=False),
    Column("layout", LargeBinary, nullable=False),
    Column("inodes", LargeBinary, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("verify_time", DateTime(timezone=True), nullable=False),
    # Not unique: a dataset whose bytes are gone does not forbid another one in its place.
    Index("holdings_by_name", "store", "name"),
    Index("holdings_by_upload", "upload_id", postgresql_where=text("upload_id IS NOT NULL")),
)

ticket_secrets = Table(
    "ticket_secrets",
    metadata,
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("token_id", _text(), primary_key=True),
    Column("revoke_time", DateTime(timezone=True), nullable=False),
)

idempotency = idempotency_table(metadata)
