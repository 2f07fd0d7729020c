"""Every statement about peers and the keys of sites."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import LargeBinary, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.api.common.v1.common_pb2 import SiteKey
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.database import compile_hot
from transfer_svc.querykit import Bare, arrays
from transfer_svc.receiving.tables import introduced_keys, peers


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A public key of a site; `pinned`: of a peer, by the gateway's word."""

    site: str
    public_key: bytes
    pinned: bool


_PINNED: Final = compile_hot(select(peers.c.name, peers.c.keys_json))
_INTRODUCED: Final = compile_hot(select(introduced_keys.c.site, introduced_keys.c.public_key))


async def fetch_keys(connection: Bare) -> list[KeyRow]:
    """All that are known of other sites, also of peers that were removed."""
    keys = [
        KeyRow(row["name"], base64.b64decode(key), pinned=True)
        for row in await _PINNED.fetch(connection)
        for key in json.loads(row["keys_json"]).values()
    ]
    rows = await _INTRODUCED.fetch(connection)
    return keys + [KeyRow(row["site"], row["public_key"], pinned=False) for row in rows]


_introduced = arrays(sites=Text, key_ids=Text, keys=LargeBinary, statements=LargeBinary)
_INTRODUCE: Final = compile_hot(
    insert(introduced_keys)
    .from_select(
        ["site", "key_id", "public_key", "statement", "via_peer", "record_time"],
        select(
            *_introduced.c,
            bindparam("via", type_=Text),
            bindparam("now", type_=introduced_keys.c.record_time.type),
        ),
    )
    .on_conflict_do_nothing()
)


async def keep_introduced(
    connection: Bare, introduced: Sequence[tuple[SiteKey, bytes]], *, via_peer: str, now: datetime
) -> None:
    """Keys in the word of a peer, each with the statement as received. Those known stay as they are."""
    await _INTRODUCE.fetch(
        connection,
        sites=[key.site for key, _ in introduced],
        key_ids=[key.key_id for key, _ in introduced],
        keys=[key.public_key for key, _ in introduced],
        statements=[statement for _, statement in introduced],
        via=via_peer,
        now=now,
    )


async def replace_peers(connection: AsyncConnection, revision: int, told: Sequence[pb.KnownPeer]) -> bool:
    """All peers as they were told, unless a newer list is known; whether they were taken."""
    # Two lists at once: the later one sees what the earlier one left.
    await connection.execute(text("LOCK TABLE peers IN SHARE ROW EXCLUSIVE MODE"))
    known = (await connection.execute(select(func.max(peers.c.revision)))).scalar()
    if known is not None and known > revision:
        return False
    await connection.execute(delete(peers))
    if told:
        await connection.execute(insert(peers), [_row(peer, revision) for peer in told])
    return True


def _row(peer: pb.KnownPeer, revision: int) -> dict[str, Any]:
    keys = {key.key_id: base64.b64encode(key.public_key).decode() for key in peer.keys}
    return {
        "name": peer.name,
        "peer_id": peer.peer_id,
        "address": peer.address,
        "insecure": peer.insecure,
        "paused": peer.paused,
        "removed": peer.removed,
        "keys_json": json.dumps(keys),
        "revision": revision,
    }


async def peer_names(connection: AsyncConnection) -> list[str]:
    """Of those that were not removed."""
    rows = await connection.execute(select(peers.c.name).where(~peers.c.removed).order_by(peers.c.name))
    return list(rows.scalars())
