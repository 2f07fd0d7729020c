"""Statements about stores and what they have promised."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from store_svc.lifecycle import PROMISED
from store_svc.queries.arrays import TEXT, array
from store_svc.records import Capabilities, Store, StoreClass
from store_svc.room import Amount, Promised
from store_svc.tables import stores, uploads

_COUNTED: Final = ("held_count", "held_bytes", "held_inodes")


async def list_stores(connection: AsyncConnection) -> list[Store]:
    """All, in placement order."""
    found = await connection.execute(select(stores).order_by(stores.c.priority, stores.c.name))
    return [_store(row) for row in found]


async def get_store(connection: AsyncConnection, name: str) -> Store | None:
    """One by name."""
    row = (await connection.execute(select(stores).where(stores.c.name == name))).one_or_none()
    return None if row is None else _store(row)


async def lock_stores(connection: AsyncConnection, names: Sequence[str]) -> list[Store]:
    """Those that share one file system, locked in one order: what they promise changes one at a time."""
    chosen = stores.c.name == func.any(array("names", TEXT))
    statement = select(stores).where(chosen).order_by(stores.c.name).with_for_update()
    return [_store(row) for row in await connection.execute(statement, {"names": list(names)})]


async def insert_store(connection: AsyncConnection, store: Store) -> None:
    """A new one."""
    await connection.execute(insert(stores).values(_columns(store)))


async def update_store(connection: AsyncConnection, store: Store) -> None:
    """Its settable columns; the sums over holdings are kept by the statements that change them."""
    values = {name: value for name, value in _columns(store).items() if name not in _COUNTED}
    await connection.execute(update(stores).where(stores.c.name == store.name).values(values))


async def promised(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Promised]:
    """What each store's open uploads were promised; a store without any is left out."""
    statement = (
        select(
            uploads.c.store,
            func.sum(uploads.c.reserved_bytes),
            func.sum(func.greatest(uploads.c.reserved_bytes - uploads.c.written_bytes, 0)),
            func.sum(uploads.c.reserved_inodes),
        )
        .where(uploads.c.store == func.any(array("names", TEXT)), uploads.c.state.in_(PROMISED))
        .group_by(uploads.c.store)
    )
    found = await connection.execute(statement, {"names": list(names)})
    return {
        store: Promised(Amount(int(whole), int(inodes)), Amount(int(to_come), int(inodes)))
        for store, whole, to_come, inodes in found
    }


async def count_held(
    connection: AsyncConnection, store: str, *, datasets: int, size_bytes: int, inodes: int
) -> None:
    """Adds to a store's sums over holdings; negative where holdings went."""
    await connection.execute(
        update(stores)
        .where(stores.c.name == store)
        .values(
            held_count=stores.c.held_count + datasets,
            held_bytes=stores.c.held_bytes + size_bytes,
            held_inodes=stores.c.held_inodes + inodes,
        )
    )


def _columns(store: Store) -> dict[str, Any]:
    return {field.name: getattr(store, field.name) for field in dataclasses.fields(store)} | {
        "store_class": int(store.store_class),
        "capabilities": dataclasses.asdict(store.capabilities),
    }


def _store(row: Row[Any]) -> Store:
    return Store(
        **{
            **row._mapping,  # noqa: SLF001 - the documented way to a row's names
            "store_class": StoreClass(row.store_class),
            "capabilities": Capabilities(**row.capabilities),
        }
    )
