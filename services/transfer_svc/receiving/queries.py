"""Every statement about offers and deliveries that calls make, each for a whole batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    and_,
    any_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Update
from sqlalchemy.types import TypeEngine

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.lifecycle import INGEST, IngestEvent, IngestState
from transfer_svc.queries import LET_GO
from transfer_svc.querykit import Bare, arrays
from transfer_svc.receiving.judging import Content
from transfer_svc.receiving.lifecycle import DELIVERY, OPEN, DeliveryEvent, DeliveryState
from transfer_svc.receiving.tables import deliveries, offers
from transfer_svc.receiving.values import Delivery
from transfer_svc.tables import ingests

_TIME: Final = DateTime(timezone=True)
_Types = dict[str, TypeEngine[Any] | type[TypeEngine[Any]]]
_d, _i = deliveries.c, ingests.c


def before(event: DeliveryEvent) -> ColumnElement[bool]:
    """The delivery is in a state that `event` may leave."""
    return or_(*[_d.state == state for state in DeliveryState if DELIVERY.allows(state, event)])


def _any(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    return column == any_(bindparam(parameter, type_=ARRAY(Text)))


_MINE: Final = and_(_d.peer == bindparam("peer"), _d.batch_id == bindparam("batch_id"))
# A delivery as `Delivery` has it, and where from.
VISIBLE: Final = (
    *[_d[name] for name in Delivery.__slots__[:12]],
    func.coalesce(_i.store, "").label("store"),
    func.coalesce(_i.verified_bytes, 0).label("verified_bytes"),
    func.coalesce(_i.error_json, "").label("trouble_json"),
)
WITH_INGEST: Final = deliveries.outerjoin(ingests, and_(_i.ingest_id == _d.upload_id, _d.upload_id != ""))


async def note_offer(
    connection: AsyncConnection, *, peer: str, batch_id: str, digest: bytes, now: datetime
) -> bytes:
    """Writes the batch down where it is new; answers the digest it was first offered with."""
    noted = await connection.execute(
        insert(offers)
        .values(peer=peer, batch_id=batch_id, request_digest=digest, create_time=now)
        .on_conflict_do_nothing()
    )
    if noted.rowcount:
        return digest
    kept: bytes = (
        await connection.execute(
            select(offers.c.request_digest).where(offers.c.peer == peer, offers.c.batch_id == batch_id)
        )
    ).scalar_one()
    return kept


_KNOWN: Final = compile_hot(
    select(offers.c.batch_id).where(
        offers.c.peer == bindparam("peer"), offers.c.batch_id == bindparam("batch_id")
    )
)


async def knows_batch(connection: Bare, peer: str, batch_id: str) -> bool:
    return await _KNOWN.fetchrow(connection, peer=peer, batch_id=batch_id) is not None


_CONTENT: Final = (_d.name, _d.kind, _d.digest_algorithm, _d.digest, _d.size_bytes, _d.member_count)
_UNFINISHED: Final = compile_hot(
    select(_d.delivery_id, _d.uid, _d.upload_id, _d.state, *_CONTENT)
    .where(
        _any(_d.uid, "uids"),
        _d.peer == bindparam("peer"),
        _d.batch_id != bindparam("batch_id"),
        _d.state <= DeliveryState.VERIFYING,
    )
    .order_by(_d.delivery_id)
    .with_for_update()
)


async def unfinished_elsewhere(
    connection: Bare, *, peer: str, batch_id: str, uids: Sequence[str]
) -> list[tuple[str, str, str, int, Content]]:
    """Deliveries of these datasets in other batches of the peer, locked: delivery id, uid, upload, state,
    and what was offered then.
    """
    rows = await _UNFINISHED.fetch(connection, peer=peer, batch_id=batch_id, uids=list(uids))
    return [(*row[:4], Content(*row[4:])) for row in rows]


_SUPERSEDE: Final = compile_hot(
    update(deliveries)
    .values(state=int(DeliveryState.EXPIRED), error_json=bindparam("error"), update_time=bindparam("now"))
    .where(
        locked(deliveries, in_order(deliveries, _any(_d.delivery_id, "ids"), before(DeliveryEvent.WITHDRAW)))
    )
)


async def supersede(connection: Bare, ids: Sequence[str], error_json: str, now: datetime) -> None:
    """Another batch brings these from now on."""
    await _SUPERSEDE.fetch(connection, ids=list(ids), error=error_json, now=now)


_NEW: Final[_Types] = {
    "delivery_id": Text,
    "position": Integer,
    "uid": Text,
    "name": Text,
    "kind": SmallInteger,
    "digest_algorithm": Text,
    "digest": LargeBinary,
    "size_bytes": BigInteger,
    "member_count": BigInteger,
    "state": SmallInteger,
    "upload_id": Text,
    "receipt": LargeBinary,
    "error_json": Text,
}
_new = arrays(**_NEW)
_INSERT: Final = compile_hot(
    insert(deliveries)
    .from_select(
        [*_NEW, "peer", "batch_id", "accept_time", "update_time"],
        select(
            *_new.c,
            bindparam("peer", type_=Text),
            bindparam("batch_id", type_=Text),
            bindparam("now", type_=_TIME),
            bindparam("now", type_=_TIME),
        ),
    )
    .on_conflict_do_nothing()
    .returning(_d.uid)
)


async def insert_deliveries(
    connection: Bare, rows: Sequence[Sequence[Any]], *, peer: str, batch_id: str, now: datetime
) -> set[str]:
    """Values in the order of `_NEW`. Answers the uids that the batch did not have yet."""
    values: dict[str, Any] = dict(zip(_NEW, map(list, zip(*rows, strict=True)), strict=True))
    found = await _INSERT.fetch(connection, **values, peer=peer, batch_id=batch_id, now=now)
    return {row["uid"] for row in found}


_FOREIGN: Final[_Types] = {
    "ingest_id": Text,
    "target_uid": Text,
    "name": Text,
    "kind": SmallInteger,
    "size_bytes": BigInteger,
    "inode_count": BigInteger,
    "algorithm": Text,
    "tags_json": Text,
    "create_time_us": BigInteger,
    "traceparent": Text,
    "uploader": Text,
    "origin": LargeBinary,
    "origin_site": Text,
}
_foreign = arrays(**_FOREIGN)
_SHARED: Final[_Types] = {
    "state": SmallInteger,
    "token_id": Text,
    "begin_time": _TIME,
    "update_time": _TIME,
    "expire_time": _TIME,
    "not_before": _TIME,
    "store": Text,
    "staging_group": Text,
}
_INSERT_FOREIGN: Final = compile_hot(
    insert(ingests).from_select(
        [*_FOREIGN, *_SHARED],
        select(*_foreign.c, *[bindparam(f"all_{name}", type_=kind) for name, kind in _SHARED.items()]),
    )
)


async def insert_foreign(
    connection: Bare, rows: Sequence[Sequence[Any]], *, token_id: str, now: datetime, expire_time: datetime
) -> None:
    """OPEN ingests of deliveries, values in the order of `_FOREIGN`."""
    values: dict[str, Any] = dict(zip(_FOREIGN, map(list, zip(*rows, strict=True)), strict=True))
    values |= {
        "all_state": INGEST.initial,
        "all_token_id": token_id,
        "all_begin_time": now,
        "all_update_time": now,
        "all_expire_time": expire_time,
        "all_not_before": expire_time,
        "all_store": "",
        "all_staging_group": "",
    }
    await _INSERT_FOREIGN.fetch(connection, **values)


_BATCH: Final = compile_hot(
    select(*VISIBLE)
    .select_from(WITH_INGEST)
    .where(_MINE, or_(func.cardinality(bindparam("uids", type_=ARRAY(Text))) == 0, _any(_d.uid, "uids")))
    .order_by(_d.position)
)


async def fetch_batch(
    connection: Bare, *, peer: str, batch_id: str, uids: Collection[str] = ()
) -> list[Delivery]:
    """The deliveries of a batch as they were offered; of these uids, or all."""
    rows = await _BATCH.fetch(connection, peer=peer, batch_id=batch_id, uids=list(uids))
    return [Delivery(*row) for row in rows]


_refusals = arrays(uploads=Text, errors=Text)
_refused = in_order(
    deliveries,
    _d.upload_id == _refusals.c.uploads,
    before(DeliveryEvent.REFUSE),
    carrying=(_refusals.c.errors,),
)
_REFUSE: Final = compile_hot(
    update(deliveries)
    .values(
        state=int(DeliveryState.REFUSED),
        error_json=_refused.c.errors,
        upload_id="",
        update_time=bindparam("now"),
    )
    .where(locked(deliveries, _refused))
)


async def refuse_deliveries(connection: Bare, refused: Sequence[tuple[str, str]], now: datetime) -> None:
    """No store takes these, and never will: upload, error as JSON."""
    uploads, errors = (list(values) for values in zip(*refused, strict=True))
    await _REFUSE.fetch(connection, uploads=uploads, errors=errors, now=now)


_forgotten = in_order(
    deliveries, _any(_d.upload_id, "uploads"), before(DeliveryEvent.WITHDRAW), deleting=True
)
_FORGET: Final = compile_hot(delete(deliveries).where(locked(deliveries, _forgotten)))


async def forget_deliveries(connection: Bare, uploads: Sequence[str]) -> None:
    """What met passing trouble before anything was reserved: the same offer tries it anew."""
    await _FORGET.fetch(connection, uploads=list(uploads))


def _hand_over(*, void: bool) -> Any:
    """Ingests of these deliveries go to the workers with what was offered as the claim; then the deliveries
    are DELIVERED. `void`: their bytes lie at their place already.

    Deliveries are locked before ingests, as where both are given up.
    """
    chosen = _any(_d.upload_id, "uploads") if void else and_(_MINE, _any(_d.uid, "uids"))
    content = (_d.upload_id, _d.digest, _d.size_bytes, _d.member_count)
    offered = in_order(deliveries, chosen, before(DeliveryEvent.DELIVER), carrying=content)
    ready = in_order(
        ingests,
        _i.ingest_id == offered.c.upload_id,
        _i.state == IngestState.OPEN,
        _i.store != "",
        carrying=(offered.c.delivery_id, *[offered.c[column.name] for column in content[1:]]),
    )
    handed = (
        update(ingests)
        .values(
            state=INGEST.move(IngestState.OPEN, IngestEvent.COMMIT),
            digest=ready.c.digest,
            claimed_bytes=ready.c.size_bytes,
            member_count=ready.c.member_count,
            upload_void=void,
            update_time=bindparam("now"),
            not_before=bindparam("now"),
            **LET_GO,
        )
        .where(locked(ingests, ready))
        .returning(ready.c.delivery_id)
        .cte("handed")
    )
    return (
        update(deliveries)
        .values(state=int(DeliveryState.DELIVERED), update_time=bindparam("now"))
        .where(_d.delivery_id == handed.c.delivery_id)
        .returning(_d.uid)
    )


_DELIVER: Final = compile_hot(_hand_over(void=False))
_ADOPT: Final = compile_hot(_hand_over(void=True))


async def deliver(
    connection: Bare, *, peer: str, batch_id: str, uids: Collection[str], now: datetime
) -> set[str]:
    """Hands deliveries over to the workers; answers those it did that to."""
    rows = await _DELIVER.fetch(connection, peer=peer, batch_id=batch_id, uids=list(uids), now=now)
    return {row["uid"] for row in rows}


async def deliver_as_found(connection: Bare, uploads: Sequence[str], now: datetime) -> None:
    """Something lies where these belong: the workers see whether it is them."""
    await _ADOPT.fetch(connection, uploads=list(uploads), now=now)


def _give_up(chosen: ColumnElement[bool], event: DeliveryEvent) -> Any:
    return _abort_of(
        update(deliveries)
        .values(state=int(DeliveryState.EXPIRED), error_json=bindparam("error"), update_time=bindparam("now"))
        .where(locked(deliveries, in_order(deliveries, chosen, before(event))))
    )


def _abort_of(ending: Update) -> Any:
    """Gives up the ingests of deliveries that end by this statement, where they are still OPEN."""
    gone = ending.returning(_d.upload_id).cte("gone")
    theirs = in_order(ingests, _i.ingest_id == gone.c.upload_id, _i.state == IngestState.OPEN)
    return (
        update(ingests)
        .values(
            state=INGEST.move(IngestState.OPEN, IngestEvent.ABORT),
            update_time=bindparam("now"),
            not_before=bindparam("now"),
            # Never placed: no store knows of it.
            settled=_i.store == "",
            **LET_GO,
        )
        .where(locked(ingests, theirs))
        .returning(_i.ingest_id)
    )


_WITHDRAW: Final = compile_hot(_give_up(and_(_MINE, _any(_d.uid, "uids")), DeliveryEvent.WITHDRAW))
_CLOSE: Final = compile_hot(_give_up(_any(_d.upload_id, "uploads"), DeliveryEvent.EXPIRE))


async def withdraw(
    connection: Bare, *, peer: str, batch_id: str, uids: Collection[str], error_json: str, now: datetime
) -> bool:
    """Gives up what was not delivered; whether a store has to be told."""
    rows = await _WITHDRAW.fetch(
        connection, peer=peer, batch_id=batch_id, uids=list(uids), error=error_json, now=now
    )
    return bool(rows)


async def close_deliveries(connection: Bare, uploads: Sequence[str], error_json: str, now: datetime) -> None:
    """Their uploads are closed at the store, nobody knows why: they are given up."""
    await _CLOSE.fetch(connection, uploads=list(uploads), error=error_json, now=now)


_given = arrays(uploads=Text, receipts=LargeBinary)
_instead = in_order(
    deliveries,
    _d.upload_id == _given.c.uploads,
    or_(*[_d.state == state for state in OPEN]),
    carrying=(_given.c.receipts,),
)
_RECEIPT_INSTEAD: Final = compile_hot(
    _abort_of(
        update(deliveries)
        .values(
            state=int(DeliveryState.RECEIPTED),
            receipt=_instead.c.receipts,
            error_json="",
            update_time=bindparam("now"),
        )
        .where(locked(deliveries, _instead))
    )
)


async def receipt_instead(connection: Bare, receipts: Sequence[tuple[str, bytes]], now: datetime) -> None:
    """These have come by another way: receipts by upload. Nothing is left to be brought."""
    uploads, signed = (list(values) for values in zip(*receipts, strict=True))
    await _RECEIPT_INSTEAD.fetch(connection, uploads=uploads, receipts=signed, now=now)


_BROUGHT: Final = compile_hot(
    select(_d.uid)
    .where(_any(_d.uid, "uids"), _d.peer == bindparam("peer"), _d.state == DeliveryState.RECEIPTED)
    .distinct()
)


async def brought_by(connection: Bare, peer: str, uids: Collection[str]) -> set[str]:
    """Which of these datasets the peer has brought here, or was told that they are."""
    return {row["uid"] for row in await _BROUGHT.fetch(connection, peer=peer, uids=list(uids))}
