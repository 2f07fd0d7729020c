"""Every statement about peers, their keys, and the state of the way to each destination."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from svckit.database import compile_hot
from transfer_svc.querykit import Bare
from transfer_svc.receiving.tables import peers
from transfer_svc.sending.changes import NOW, TIME, columns_of
from transfer_svc.sending.tables import links
from transfer_svc.sending.values import PEER_COLUMNS, Destination, Peer

_PEERS = compile_hot(select(*columns_of(peers, PEER_COLUMNS)))


async def all_peers(connection: Bare) -> dict[str, Peer]:
    return {row["name"]: Peer(*row) for row in await _PEERS.fetch(connection)}


_place = {
    "destination": bindparam("destination", type_=Text),
    "destination_kind": bindparam("kind", type_=links.c.destination_kind.type),
}
_here = [links.c[name] == value for name, value in _place.items()]
_failing = insert(links).values(
    **_place,
    failure_count=1,
    reason=bindparam("reason", type_=Text),
    since_time=NOW,
    next_time=bindparam("next_time", type_=TIME),
)
_FAIL = compile_hot(
    _failing.on_conflict_do_update(
        index_elements=list(_place),
        set_={
            "failure_count": links.c.failure_count + 1,
            "reason": _failing.excluded.reason,
            "since_time": func.coalesce(links.c.since_time, _failing.excluded.since_time),
            "next_time": _failing.excluded.next_time,
        },
    )
)
_working = insert(links).values(**_place, last_success_time=NOW)
_WORK = compile_hot(
    _working.on_conflict_do_update(
        index_elements=list(_place),
        set_={
            "failure_count": 0,
            "reason": "",
            "since_time": None,
            "next_time": None,
            "last_success_time": _working.excluded.last_success_time,
        },
    )
)
_PROBE = compile_hot(
    update(links)
    .values(next_time=bindparam("until", type_=TIME))
    .where(*_here, links.c.failure_count > 0, or_(links.c.next_time.is_(None), links.c.next_time <= NOW))
    .returning(links.c.failure_count)
)
_GET = compile_hot(select(links).where(*_here))
_ALL = compile_hot(select(links).order_by(links.c.destination))


def _at(to: Destination) -> dict[str, Any]:
    return {"destination": to.name, "kind": int(to.kind)}


async def note_failure(
    connection: Bare, to: Destination, reason: str, *, now: datetime, next_time: datetime
) -> None:
    """One more failure in a row; nobody is to try before `next_time`."""
    await _FAIL.fetch(connection, **_at(to), reason=reason, now=now, next_time=next_time)


async def note_success(connection: Bare, to: Destination, *, now: datetime) -> None:
    await _WORK.fetch(connection, **_at(to), now=now)


async def claim_probe(connection: Bare, to: Destination, *, now: datetime, until: datetime) -> bool:
    """Whether the caller is the one that tries a broken link now; others may from `until` on."""
    return bool(await _PROBE.fetch(connection, **_at(to), now=now, until=until))


async def link_of(connection: Bare, to: Destination) -> Any:
    """The row, or None."""
    return await _GET.fetchrow(connection, **_at(to))


async def all_links(connection: Bare) -> list[Any]:
    return list(await _ALL.fetch(connection))


_reading = insert(links).values(**_place, receipts_time=bindparam("until", type_=TIME))
_TURN = compile_hot(
    _reading.on_conflict_do_update(
        index_elements=list(_place),
        set_={"receipts_time": _reading.excluded.receipts_time},
        where=or_(links.c.receipts_time.is_(None), links.c.receipts_time <= NOW),
    ).returning(links.c.receipts_epoch, links.c.receipts_sequence, links.c.receipts_cursor_us)
)
_READ = compile_hot(
    update(links)
    .values(
        receipts_epoch=bindparam("epoch", type_=links.c.receipts_epoch.type),
        receipts_sequence=bindparam("sequence", type_=links.c.receipts_sequence.type),
        receipts_cursor_us=bindparam("time_us", type_=links.c.receipts_cursor_us.type),
    )
    .where(*_here)
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """As catalog.v1.EventCursor; epoch 0: from the beginning."""

    epoch: int = 0
    sequence: int = 0
    time_us: int = 0


async def receipts_turn(
    connection: Bare, to: Destination, *, now: datetime, until: datetime
) -> Cursor | None:
    """Where to read a peer's receipts on, for one worker; None for the others, whose turn may come at
    `until`.
    """
    row = await _TURN.fetchrow(connection, **_at(to), now=now, until=until)
    return None if row is None else Cursor(*row)


async def receipts_read(connection: Bare, to: Destination, cursor: Cursor) -> None:
    await _READ.fetch(
        connection, **_at(to), epoch=cursor.epoch, sequence=cursor.sequence, time_us=cursor.time_us
    )
