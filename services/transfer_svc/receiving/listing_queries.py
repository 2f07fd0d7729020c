"""Every statement by which people look at what comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Text, and_, func, literal, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from transfer_svc.receiving.lifecycle import DeliveryState
from transfer_svc.receiving.queries import VISIBLE, WITH_INGEST
from transfer_svc.receiving.tables import deliveries
from transfer_svc.receiving.values import Delivery

_d: Final = deliveries.c


async def list_deliveries(
    connection: AsyncConnection,
    *,
    peer: str,
    states: Sequence[int],
    name_regex: str,
    after: str,
    limit: int,
) -> list[Delivery]:
    """A page, newest first, after the last one sent ("": from the start). `peer` "": of all."""
    statement = (
        select(*VISIBLE)
        .select_from(WITH_INGEST)
        .where(
            _d.peer == peer if peer else true(),
            _d.state.in_(states) if states else true(),
            _d.name.op("~")(name_regex) if name_regex else true(),
            _d.delivery_id < after if after else true(),
        )
        .order_by(_d.delivery_id.desc())
        .limit(limit)
    )
    return [Delivery(*row) for row in await connection.execute(statement)]


async def incoming(connection: AsyncConnection, now: datetime) -> Iterable[tuple[str, int, int, int]]:
    """By peer: deliveries not ended and their bytes; those refused in the last day."""
    active = _d.state <= DeliveryState.VERIFYING
    statement = (
        select(
            _d.peer,
            func.count().filter(active),
            func.coalesce(func.sum(_d.size_bytes).filter(active), 0),
            func.count().filter(_d.state == DeliveryState.REFUSED),
        )
        .where(
            or_(
                active,
                and_(_d.state == DeliveryState.REFUSED, _d.update_time > now - timedelta(days=1)),
            )
        )
        .group_by(_d.peer)
        .order_by(_d.peer)
    )
    return [
        (peer, count, int(size), refused)
        for peer, count, size, refused in await connection.execute(statement)
    ]


async def last_receipts(connection: AsyncConnection, peers: Collection[str]) -> dict[str, datetime]:
    """When the newest delivery of each peer that has its receipt got it."""
    names = select(func.unnest(literal(list(peers), ARRAY(Text))).label("name")).subquery("names")
    newest = (
        select(_d.update_time)
        .where(_d.peer == names.c.name, _d.state == DeliveryState.RECEIPTED)
        .order_by(_d.delivery_id.desc())
        .limit(1)
        .lateral("newest")
    )
    statement = select(names.c.name, newest.c.update_time).select_from(names.join(newest, true()))
    return {row.name: row.update_time for row in await connection.execute(statement)}
