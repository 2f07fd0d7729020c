"""Receipts of other sites, and the copies there that they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from catalog_svc.eventtypes import RECEIPT_RECORDED
from catalog_svc.lifecycle import ReplicaState
from catalog_svc.receipts import Content, Receipt
from catalog_svc.tables import datasets, receipts, remote_replicas
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, Rows, array, as_text, given
from .log import appending

# In the order that `messages.fill_receipt` takes them.
RECEIPT = (receipts.c.sequence, datasets.c.name, receipts.c.receipt, receipts.c.via_site)


@cache
def _contents() -> HotStatement:
    content = (datasets.c.kind, datasets.c.digest_algorithm, datasets.c.digest)
    wanted = datasets.c.uid == any_(array("uids", UID))
    return compile_hot(select(as_text(datasets.c.uid), *content).where(wanted))


async def contents(connection: Bare, uids: list[str]) -> dict[str, Content]:
    """What those of these datasets that are catalogued, live or not, consist of."""
    return {uid: tuple(content) for uid, *content in await _contents().fetch(connection, uids=uids)}


@cache
def _known() -> HotStatement:
    return compile_hot(
        select(receipts.c.digest).where(receipts.c.digest == any_(array("digests", LargeBinary())))
    )


async def known(connection: Bare, digests: list[bytes]) -> set[bytes]:
    """Those of these receipts that were recorded before."""
    return {digest for (digest,) in await _known().fetch(connection, digests=digests)}


def _freshness(source: Any) -> ColumnElement[Any]:
    """The greater speaks of the later full read: a time that lies ahead counts from when it was told. The
    rest only makes it the same whatever comes first.
    """
    verified = func.least(source.verify_time_us, source.record_time_us)
    return tuple_(verified, source.verify_time_us, source.sign_time_us, source.receipt_digest)


@cache
def _record() -> HotStatement:
    rows = given(
        uid=UID,
        digest=LargeBinary(),
        signed=LargeBinary(),
        via=Text(),
        details=Text(),
        site=Text(),
        store=Text(),
        class_=Text(),
        domain=Text(),
        verified=BigInteger(),
        signed_us=BigInteger(),
    )
    # To the sums it is a copy that stays what it is: they are about this site's stores.
    type_: ColumnElement[str] = literal_column(f"'{RECEIPT_RECORDED}'")
    state: ColumnElement[int] = literal_column(str(ReplicaState.AVAILABLE.value))
    nothing: ColumnElement[str] = literal_column("''")
    told, moved = appending(rows, type_, nothing, state, state, nothing, details=rows.c.details)
    kept = (
        insert(receipts)
        .from_select(
            ["digest", "sequence", "dataset_uid", "receipt", "via_site"],
            select(
                *(rows.c.digest, moved.c.base + rows.c.ordinal, rows.c.uid, rows.c.signed, rows.c.via)
            ).select_from(moved.join(rows, literal_column("true"))),
        )
        .cte("kept")
    )
    said = (
        select(
            *(rows.c.uid.label("dataset_uid"), rows.c.site, rows.c.store),
            *(rows.c["class_"].label("store_class"), rows.c.domain.label("failure_domain")),
            *(rows.c.verified.label("verify_time_us"), rows.c.signed_us.label("sign_time_us")),
            bindparam("now_us", type_=BigInteger).label("record_time_us"),
            *(rows.c.via.label("via_site"), rows.c.digest.label("receipt_digest")),
        )
        # What this site says of itself is kept, but its copies are known first hand.
        .where(rows.c.site != bindparam("own_site", type_=Text))
        .subquery("said")
    )
    columns, key = said.c.keys(), ("dataset_uid", "site", "store")
    rank = func.row_number().over(
        partition_by=[said.c[name] for name in key], order_by=_freshness(said.c).desc()
    )
    ranked = select(said, rank.label("rank")).subquery("ranked")
    newest = select(*(ranked.c[name] for name in columns)).where(ranked.c.rank == literal_column("1"))
    renewal = insert(remote_replicas).from_select(columns, newest)
    renewed = renewal.on_conflict_do_update(
        index_elements=key,
        set_={name: renewal.excluded[name] for name in columns if name not in key},
        where=_freshness(renewal.excluded) > _freshness(remote_replicas.c),
    ).cte("renewed")
    return compile_hot(told.add_cte(kept, renewed))


async def record(connection: Bare, new: Sequence[Receipt], own_site: str, now_us: int) -> None:
    """Keeps receipts that were not known, each with its event, and renews the copies they are newest on.
    The log is locked.
    """
    words = [receipt.word for receipt in new]
    await _record().fetch(
        connection,
        uid=[word.uid for word in words],
        digest=[receipt.digest for receipt in new],
        signed=[receipt.signed for receipt in new],
        via=[receipt.via_site for receipt in new],
        details=[receipt.details_json for receipt in new],
        site=[word.site for word in words],
        store=[word.store for word in words],
        class_=[word.store_class for word in words],
        domain=[word.failure_domain for word in words],
        verified=[word.verify_time_us for word in words],
        signed_us=[word.sign_time_us for word in words],
        own_site=own_site,
        entry_count=len(new),
        now_us=now_us,
    )


@cache
def _read(*, of_dataset: bool) -> HotStatement:
    conditions = [receipts.c.sequence > bindparam("after", type_=BigInteger)]
    if of_dataset:
        conditions.append(receipts.c.dataset_uid == bindparam("uid", type_=UID))
    joined = receipts.join(datasets, datasets.c.uid == receipts.c.dataset_uid)
    statement = select(*RECEIPT).select_from(joined).where(*conditions).order_by(receipts.c.sequence)
    return compile_hot(statement.limit(bindparam("row_limit", type_=Integer)))


async def read(connection: Bare, after: int, limit: int, uid: str = "") -> Rows:
    """The next receipts after a place in the log, of all datasets or of one."""
    if uid:
        return await _read(of_dataset=True).fetch(connection, after=after, row_limit=limit, uid=uid)
    return await _read(of_dataset=False).fetch(connection, after=after, row_limit=limit)
