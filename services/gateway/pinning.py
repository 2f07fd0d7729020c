"""Keeping a peer's word about itself: its keys, where it is reached. Within the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import peer_queries as queries
from gateway.peers import Peer
from librarian.api.common.v1.common_pb2 import SiteKey
from librarian.errors import PeerExists
from svckit.clock import Ids
from svckit.sitekeys import OVERLAP


async def pin(
    connection: AsyncConnection,
    key: SiteKey,
    *,
    address: str,
    insecure: bool,
    told_address: str,
    now: datetime,
    ids: Ids,
) -> Peer:
    """The peer that `key` is of, new or known by this key already. Raises PeerExists: known by another."""
    await queries.count_change(connection, now)
    known = await queries.peer_named(connection, key.site)
    check_same(known, key, now)
    place = {"address": address, "insecure": insecure, "told_address": told_address}
    if known is None:
        known = Peer(ids.new_uid(), ids.new_uid(), key.site, address, insecure, told_address, False, now)
        await queries.add_peer(connection, known)
    else:
        await queries.set_peer(connection, known.record_id, place)
    await queries.add_keys(connection, known.record_id, [key], now)
    return await live(connection, key.site)


def check_same(known: Peer | None, key: SiteKey, now: datetime) -> None:
    """Raises PeerExists where the live peer of that name has another key."""
    if known is not None and key.key_id not in known.session_keys(now):
        raise PeerExists(f"there is a peer called {known.name}, and it has another key", peer=known.name)


async def pin_rotated(
    connection: AsyncConnection, peer: Peer, keys: Sequence[SiteKey], now: datetime
) -> None:
    """New keys of a peer, in the order of their making. Those before the last go on for the overlap."""
    await queries.count_change(connection, now)
    await queries.add_keys(connection, peer.record_id, keys, now)
    await queries.expire_keys(connection, peer.record_id, but=keys[-1].key_id, at=now + OVERLAP)


async def live(connection: AsyncConnection, name: str) -> Peer:
    found = await queries.peer_named(connection, name)
    assert found is not None, "it was kept in this transaction"
    return found
