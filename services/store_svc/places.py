"""Whether a new upload has a place to go to, and is the only one to bring its dataset to the store.

Asked before anything is reserved for it. The last word is spoken when it is placed: until then others may
come first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.errors import LibrarianError, UidTaken, UploadActive
from librarian.names import printable
from store_svc.kit import Kit
from store_svc.outcomes import path_taken
from store_svc.queries import holdings as holding_queries
from store_svc.queries import uploads as queries
from store_svc.records import Store, UploadSpec


async def taken_places(kit: Kit, store: Store, specs: Sequence[UploadSpec]) -> dict[str, LibrarianError]:
    """By name, where something lies that no upload has put there whose fate is open.

    Raises StoreIdentity.
    """
    names = sorted({spec.name for spec in specs})
    there = await kit.threads.io(_there, kit, store, names)
    if not there:
        return {}
    async with kit.database.transaction() as connection:
        passing = {
            **await queries.unsettled_names(connection, store.name, there),
            **await queries.leftover_names(connection, store.name, there),
        }
        held = await holding_queries.holdings_named(connection, store.name, there)
    return {name: path_taken(name, store.name, held.get(name)) for name in there if name not in passing}


async def refused_places(
    connection: AsyncConnection, store: str, specs: Sequence[UploadSpec], taken: Mapping[str, LibrarianError]
) -> dict[str, LibrarianError]:
    """By upload, why a new one cannot be opened. In the transaction that opens the others, with the store's
    row locked: of two attempts to bring one dataset the second finds the first.
    """
    errors = {spec.upload_id: taken[spec.name] for spec in specs if spec.name in taken}
    known = [spec for spec in specs if spec.dataset_uid and spec.upload_id not in errors]
    if not known:
        return errors
    uids = {spec.uid for spec in known}
    attempts = await queries.attempts_for(connection, store, uids)
    held = await holding_queries.get_holdings(connection, store, uids)
    for spec in known:
        holding = held.get(spec.uid)
        if spec.uid in attempts:
            errors[spec.upload_id] = attempt_under_way(spec.uid, store, attempts[spec.uid])
        elif holding is not None and holding.name != spec.name:
            errors[spec.upload_id] = uid_held(spec.uid, store, holding.name)
        else:
            attempts[spec.uid] = spec.upload_id
    return errors


def attempt_under_way(uid: str, store: str, upload_id: str) -> UploadActive:
    return UploadActive(
        f"upload {upload_id} is bringing dataset {uid} to store {store}",
        remedy="go on with that upload, or abort it first",
        upload_id=upload_id,
        uid=uid,
    )


def uid_held(uid: str, store: str, name: str) -> UidTaken:
    shown = printable(name)
    return UidTaken(f"dataset {uid} is held on store {store} at {shown!r}", uid=uid, path=shown)


def _there(kit: Kit, store: Store, names: Sequence[str]) -> list[str]:
    with kit.roots.of(store).open() as root:
        return [name for name in names if _lies_at(root.root, name)]


def _lies_at(root: int, name: str) -> bool:
    """Whether anything does. What cannot be told now, placing will tell, and what stands in the way."""
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except OSError:
        return False
    return True
