"""The catalog's tables, in its own schema (found by search_path).

Times are microseconds since 1970 UTC, as in the signed Origin and the sidecars: exact, and compared and
sent on without conversion. Names are COLLATE "C": their order is that of their UTF-8 bytes.

There are no foreign keys: every row that would need one is written in the same transaction as the row
it refers to, datasets are never deleted, and bulk publishing is spared a look-up a row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from svckit.idempotency import idempotency_table

LIVE = 1

metadata = MetaData()


def _name(column: str, **options: object) -> Column[str]:
    return Column(column, Text(collation="C"), nullable=False, **options)  # type: ignore[arg-type]


def _uid(column: str, **options: object) -> Column[str]:
    return Column(column, Uuid(as_uuid=False), nullable=False, **options)  # type: ignore[arg-type]


datasets = Table(
    "datasets",
    metadata,
    _uid("uid", primary_key=True),
    _name("name"),
    # NFC of the name: two live spellings of one name cannot be.
    _name("name_key"),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("digest_algorithm", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("member_count", BigInteger, nullable=False),
    Column("create_time_us", BigInteger, nullable=False),
    Column("publish_time_us", BigInteger, nullable=False),
    Column("uploader", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    # A flat object of strings; null for none, which keeps those rows out of the index.
    Column("tags", JSONB, nullable=True),
    # A serialised Signed, as received; null where there is none.
    Column("origin", LargeBinary, nullable=True),
)

_live = datasets.c.state == text(str(LIVE))

Index("datasets_live_name_key", datasets.c.name_key, unique=True, postgresql_where=_live)
Index("datasets_live_name", datasets.c.name, postgresql_where=_live)
Index("datasets_live_create_time", datasets.c.create_time_us, datasets.c.uid, postgresql_where=_live)
Index("datasets_live_uploader", datasets.c.uploader, datasets.c.name, postgresql_where=_live)
Index("datasets_tags", datasets.c.tags, postgresql_using="gin", postgresql_where=datasets.c.tags.is_not(None))

replicas = Table(
    "replicas",
    metadata,
    _uid("dataset_uid", primary_key=True),
    Column("store", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("verify_time_us", BigInteger, nullable=True),
    Column("update_time_us", BigInteger, nullable=False),
)

Index("replicas_store", replicas.c.store, replicas.c.dataset_uid)
# The few that are not AVAILABLE: "what is corrupt?" must not read the many that are well.
Index(
    "replicas_in_trouble",
    replicas.c.state,
    replicas.c.dataset_uid,
    postgresql_where=replicas.c.state != text("2"),
)

# Every receipt of another site ever seen, each in the place of the log that tells of it.
receipts = Table(
    "receipts",
    metadata,
    # sha256 of `receipt`: the same one again is no other, whichever way it comes.
    Column("digest", LargeBinary, primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    _uid("dataset_uid"),
    # A serialised Signed, as received.
    Column("receipt", LargeBinary, nullable=False),
    Column("via_site", Text, nullable=False),
)

Index("receipts_of_dataset", receipts.c.dataset_uid, receipts.c.sequence)

# What the newest receipt says about each copy at another site.
remote_replicas = Table(
    "remote_replicas",
    metadata,
    _uid("dataset_uid", primary_key=True),
    Column("site", Text, primary_key=True),
    Column("store", Text, primary_key=True),
    Column("store_class", Text, nullable=False),
    Column("failure_domain", Text, nullable=False),
    Column("verify_time_us", BigInteger, nullable=False),
    Column("sign_time_us", BigInteger, nullable=False),
    Column("record_time_us", BigInteger, nullable=False),
    Column("via_site", Text, nullable=False),
    Column("receipt_digest", LargeBinary, nullable=False),
)

Index("remote_replicas_site", remote_replicas.c.site, remote_replicas.c.dataset_uid)

members = Table(
    "members",
    metadata,
    _uid("dataset_uid", primary_key=True),
    _name("path", primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("checksum_algorithm", Text, nullable=True),
    Column("checksum", LargeBinary, nullable=True),
    Column("link_target", Text, nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
)

# One row for each dataset whose members were sent ahead of its publication, and when they last were.
pending_members = Table(
    "pending_members",
    metadata,
    _uid("dataset_uid", primary_key=True),
    Column("last_time_us", BigInteger, nullable=False, index=True),
)

# Who was about to take a name; excludes nobody.
name_reservations = Table(
    "name_reservations",
    metadata,
    _uid("uid", primary_key=True),
    _name("name"),
    Column("subject", Text, nullable=False),
    Column("reserve_time_us", BigInteger, nullable=False, index=True),
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    _uid("dataset_uid"),
    Column("store", Text, nullable=False),
    # The replica's state before (null: it was not there) and after.
    Column("from_state", SmallInteger, nullable=True),
    Column("to_state", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    # A JSON object, where states and reason do not say it all; null where they do.
    Column("details", Text, nullable=True),
)

Index("events_of_dataset", events.c.dataset_uid, events.c.sequence)

# One row. Whoever publishes locks it last and holds it to the commit, so that events commit in the order
# of their sequence and whoever comes next sees every name taken before.
site_state = Table(
    "site_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # Which copy of the database the epoch was given to.
    Column("incarnation", Text, nullable=False),
)

# Sums over the live datasets a glob of names matches ("" is everything: one for each prefix that a token
# was limited to and that was asked about), by store and replica state; the row with store "" and state 0
# counts the datasets themselves. Folded from the event log in the background.
summaries = Table(
    "summaries",
    metadata,
    _name("scope", primary_key=True),
    Column("store", Text, primary_key=True),
    Column("state", SmallInteger, primary_key=True, autoincrement=False),
    Column("item_count", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

# Up to which event each scope is folded, when that last was all there was (null: not yet), and when
# somebody last asked.
summary_scopes = Table(
    "summary_scopes",
    metadata,
    _name("scope", primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=True),
    Column("ask_time_us", BigInteger, nullable=False),
)

idempotency = idempotency_table(metadata)
