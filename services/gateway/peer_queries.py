"""Every statement about peers and invitations: one function each, named for its purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from asyncpg import Connection
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.invitations import Invited
from gateway.peers import Link, Peer, PeerKey
from gateway.tables import invitations, peer_changes, peer_keys, peers
from librarian.api.common.v1.common_pb2 import SiteKey
from svckit.hot import compile_hot

_ROWS = (
    select(peers, *(peer_keys.c[name] for name in ("key_id", "public_key", "pin_time", "expire_time")))
    .join_from(peers, peer_keys, isouter=True)
    .order_by(peers.c.record_id, peer_keys.c.pin_time)
)
_LIVE = compile_hot(_ROWS.where(peers.c.remove_time.is_(None)))
# What becomes of a link when the address is another one.
NOT_CALLED = {"link_up": None, "link_reason": "", "link_since_time": None}


async def live_peers(connection: Connection[Any]) -> list[Peer]:
    """Those that were not removed, with their keys; in the order of their joining."""
    return _peers(await _LIVE.fetch(connection))


async def all_peers(connection: AsyncConnection) -> list[Peer]:
    """Removed ones too, in the order of their joining."""
    return _peers(row._mapping for row in await connection.execute(_ROWS))  # noqa: SLF001 - its public name


async def peer_named(connection: AsyncConnection, name: str) -> Peer | None:
    """The live peer of a name."""
    statement = _ROWS.where(peers.c.name == name, peers.c.remove_time.is_(None))
    found = _peers(row._mapping for row in await connection.execute(statement))  # noqa: SLF001 - its public name
    return found[0] if found else None


async def count_change(connection: AsyncConnection, now: datetime) -> None:
    """Begins every change of what others are told about peers: one at a time, each with a greater revision.

    Not less than the time, so that changes made after a restore from a backup are newer than all before.
    """
    micros = int(now.timestamp() * 1_000_000)
    await connection.execute(
        update(peer_changes).values(revision=func.greatest(peer_changes.c.revision + 1, micros))
    )


async def revision(connection: AsyncConnection) -> int:
    """Of the last change."""
    found: int = (await connection.execute(select(peer_changes.c.revision))).scalar_one()
    return found


async def add_peer(connection: AsyncConnection, peer: Peer) -> None:
    """Keeps a new peer, without its keys."""
    await connection.execute(
        insert(peers).values(
            record_id=peer.record_id,
            peer_id=peer.peer_id,
            name=peer.name,
            address=peer.address,
            insecure=peer.insecure,
            told_address=peer.told_address,
            join_time=peer.join_time,
        )
    )


async def add_keys(
    connection: AsyncConnection, record_id: str, keys: Iterable[SiteKey], now: datetime
) -> None:
    """Pins keys; those that are pinned stay as they are."""
    rows = [
        {"record_id": record_id, "key_id": key.key_id, "public_key": key.public_key, "pin_time": now}
        for key in keys
    ]
    if rows:
        await connection.execute(insert(peer_keys).on_conflict_do_nothing(), rows)


async def expire_keys(connection: AsyncConnection, record_id: str, *, but: str, at: datetime) -> None:
    """Has the keys of a peer, but one, open sessions until then at most."""
    await connection.execute(
        update(peer_keys)
        .where(
            peer_keys.c.record_id == record_id, peer_keys.c.key_id != but, peer_keys.c.expire_time.is_(None)
        )
        .values(expire_time=at)
    )


async def set_peer(connection: AsyncConnection, record_id: str, changes: Mapping[str, Any]) -> None:
    """Changes what is known of a peer, by column."""
    await connection.execute(update(peers).where(peers.c.record_id == record_id).values(**changes))


async def set_link(
    connection: AsyncConnection, record_id: str, *, up: bool, reason: str, now: datetime, **facts: Any
) -> None:
    """How a call to a peer ended. It is so `since` now, unless it was the same before."""
    same = peers.c.link_up.is_not_distinct_from(up)
    await connection.execute(
        update(peers)
        .where(peers.c.record_id == record_id)
        .values(
            link_up=up,
            link_reason=reason,
            link_since_time=case((same, peers.c.link_since_time), else_=now),
            **facts,
        )
    )


async def add_invitation(connection: AsyncConnection, invited: Invited) -> None:
    """Keeps an invitation."""
    await connection.execute(
        insert(invitations).values(
            invite_id=invited.invite_id,
            name=invited.name,
            salt=invited.salt,
            expire_time=invited.expire_time,
        )
    )


async def invitation(connection: AsyncConnection, invite_id: str) -> Invited | None:
    """One, locked until the transaction ends: of two that redeem it one is first."""
    row = (
        await connection.execute(
            select(invitations).where(invitations.c.invite_id == invite_id).with_for_update()
        )
    ).one_or_none()
    if row is None:
        return None
    return Invited(str(row.invite_id), row.name, row.salt, row.expire_time, row.used_by)


async def use_invitation(connection: AsyncConnection, invite_id: str, key_id: str) -> None:
    """From now on it is of use to the holder of this key alone."""
    await connection.execute(
        update(invitations).where(invitations.c.invite_id == invite_id).values(used_by=key_id)
    )


async def forget_invitations(connection: AsyncConnection, before: datetime) -> None:
    """Those that expired before a time."""
    await connection.execute(delete(invitations).where(invitations.c.expire_time < before))


def _peers(rows: Iterable[Any]) -> list[Peer]:
    found: dict[str, Peer] = {}
    keys: dict[str, dict[str, PeerKey]] = {}
    for row in rows:
        record_id = str(row["record_id"])
        if record_id not in found:
            keys[record_id] = {}
            found[record_id] = _peer(row, keys[record_id])
        if row["key_id"] is not None:
            public = Ed25519PublicKey.from_public_bytes(row["public_key"])
            keys[record_id][row["key_id"]] = PeerKey(
                row["key_id"], public, row["pin_time"], row["expire_time"]
            )
    return list(found.values())


def _peer(row: Any, keys: Mapping[str, PeerKey]) -> Peer:
    return Peer(
        record_id=str(row["record_id"]),
        peer_id=str(row["peer_id"]),
        name=row["name"],
        address=row["address"],
        insecure=row["insecure"],
        told_address=row["told_address"],
        paused=row["paused"],
        join_time=row["join_time"],
        remove_time=row["remove_time"],
        keys=keys,
        link=Link(
            up=row["link_up"],
            reason=row["link_reason"],
            since=row["link_since_time"],
            heard=row["heard_time"],
            reached=row["reached_time"],
            offset_ms=row["clock_offset_ms"],
            version=row["version"],
        ),
    )
