"""The schema `transfer`: what this service remembers. Names, uids and stores compare by bytes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from svckit.idempotency import idempotency_table
from svckit.leases import lease_columns

metadata: Final = MetaData()

BYTEWISE = Text(collation="C")

ingests: Final = Table(
    "ingests",
    metadata,
    # The uid the dataset has, or would have had.
    Column("ingest_id", BYTEWISE, primary_key=True),
    Column("name", BYTEWISE, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # Where the bytes go; empty until one is chosen. Written before the store is asked, so that whatever
    # it reserved can be given back.
    Column("store", BYTEWISE, nullable=False),
    # The BeginUploads call it was opened by: what shares it shares a staging area, so a grant.
    Column("staging_group", BYTEWISE, nullable=False),
    # Subject and id of the token it was begun with.
    Column("uploader", Text, nullable=False),
    Column("token_id", Text, nullable=False),
    # As declared.
    Column("size_bytes", BigInteger, nullable=False),
    Column("inode_count", BigInteger, nullable=False),
    Column("algorithm", Text, nullable=False),
    # As the catalogue takes them: a JSON object, or empty.
    Column("tags_json", Text, nullable=False),
    Column("create_time_us", BigInteger, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("begin_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    # As claimed by the client's commit; null before.
    Column("digest", LargeBinary),
    Column("claimed_bytes", BigInteger),
    Column("member_count", BigInteger),
    Column("verified_bytes", BigInteger, nullable=False, server_default=text("0")),
    # A serialised Signed, kept from before the store is told of it: made once, never again.
    Column("origin", LargeBinary),
    # PUBLISHED: the live dataset, this one or another with the same bytes.
    Column("dataset_uid", BYTEWISE, nullable=False, server_default=text("''")),
    # Why it failed, or the last passing trouble: an ItemError as JSON, empty while all is well.
    Column("error_json", Text, nullable=False, server_default=text("''")),
    # The store knows the outcome: nothing is left to be done.
    Column("settled", Boolean, nullable=False, server_default=text("false")),
    *lease_columns(),
    # Of a delivery: the uid the dataset was born with, and where. Empty for what clients bring.
    Column("target_uid", BYTEWISE, nullable=False, server_default=text("''")),
    Column("origin_site", BYTEWISE, nullable=False, server_default=text("''")),
    # Not by what was uploaded does the dataset lie there: other bytes, found at its place, are it. The
    # upload is given up at the end.
    Column("upload_void", Boolean, nullable=False, server_default=text("false")),
    # What workers look for, by state and store, next due first. Rows leave it for good once settled.
    Index("ingests_due", "state", "store", "not_before", postgresql_where=text("NOT settled")),
    # ListIngests: newest first, as uids are born in order.
    Index("ingests_by_uploader", "uploader", "ingest_id"),
    Index("ingests_arriving", "target_uid", postgresql_where=text("NOT settled AND target_uid <> ''")),
)

requests: Final = idempotency_table(metadata)
