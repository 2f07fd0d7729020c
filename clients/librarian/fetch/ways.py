"""The ways to a dataset's bytes on one store, best first, each taken only when it proves to work."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.connection.channel import SiteChannel, store_metadata
from librarian.errors import ReplicaNotFound
from librarian.names import printable

Item = TypeVar("Item")

# Bytes are verified on the way, so a doubted copy may serve when no better one does.
_PREFERENCE = (
    common_pb2.REPLICA_STATE_AVAILABLE,
    common_pb2.REPLICA_STATE_SUSPECT,
    common_pb2.REPLICA_STATE_CORRUPT,
)


def stores_of(dataset: catalog_pb2.Dataset, only: str) -> list[str]:
    """Stores to read from, best first. Raises REPLICA_NOT_FOUND."""
    found = [
        replica.store
        for state in _PREFERENCE
        for replica in dataset.replicas
        if replica.state == state and only in {"", replica.store}
    ]
    if not found:
        states = ", ".join(
            f"{replica.store}: "
            + common_pb2.ReplicaState.Name(replica.state).removeprefix("REPLICA_STATE_").lower()
            for replica in dataset.replicas
        )
        where = f" on store {only}" if only else ""
        raise ReplicaNotFound(
            f"no copy of {printable(dataset.name)} can be read{where} ({states or 'no copies'})",
            remedy=f"`librarian show {printable(dataset.name)}` tells about its copies",
            name=dataset.name,
        )
    return found


async def begin_read(site: SiteChannel, store: str, uid: str) -> store_pb2.ReadGrant:
    request = store_pb2.BeginReadRequest(store=store, uid=uid)
    answer = await site.unary(site.store.BeginRead, request, metadata=store_metadata(store))
    return answer.grant


def proven_path(grant: store_pb2.ReadGrant) -> Path | None:
    """Blocking. The dataset's own path, if this host sees that very store and may read it."""
    if not grant.path or not grant.proof_path:
        return None
    try:
        identity = json.loads(Path(grant.proof_path).read_bytes())
        if identity["store_uid"] != grant.store_uid:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    path = Path(grant.path)
    return path if os.access(path, os.R_OK) else None


def at_most(items: Sequence[Item], count: int = 1000) -> list[Sequence[Item]]:
    """In slices: one ReadDataset takes a thousand ranges."""
    return [items[start : start + count] for start in range(0, len(items), count)]
