"""Statements about the datasets a store holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.checksums import Checksum
from librarian.manifests import DatasetKind
from librarian.names import ancestors
from store_svc.queries.arrays import TEXT, array, rows, values_of
from store_svc.records import Fingerprint, Holding
from store_svc.tables import holdings
from svckit.locking import in_order, locked

_IDS: Final = func.any(array("ids", TEXT))
# Of the uploads `ids`. An adopted dataset counts as brought by an upload of its own uid.
_BROUGHT: Final = (holdings.c.upload_id == _IDS) | (holdings.c.upload_id.is_(None) & (holdings.c.uid == _IDS))


async def get_holding(connection: AsyncConnection, store: str, uid: str) -> Holding | None:
    """One by uid; on any store where `store` is empty."""
    statement = select(holdings).where(holdings.c.uid == uid)
    if store:
        statement = statement.where(holdings.c.store == store)
    row = (await connection.execute(statement.order_by(holdings.c.store).limit(1))).one_or_none()
    return None if row is None else _holding(row)


async def get_holdings(connection: AsyncConnection, store: str, uids: Collection[str]) -> dict[str, Holding]:
    """Of one store, by uid; those there are."""
    statement = select(holdings).where(
        holdings.c.uid == func.any(array("uids", TEXT)), holdings.c.store == store
    )
    found = await connection.execute(statement, {"uids": list(uids)})
    return {row.uid: _holding(row) for row in found}


async def get_brought(connection: AsyncConnection, upload_ids: Collection[str]) -> dict[str, Holding]:
    """What these uploads have brought, by upload; those of which something is held."""
    found = await connection.execute(select(holdings).where(_BROUGHT), {"ids": list(upload_ids)})
    return {holding.brought_by: holding for holding in map(_holding, found)}


async def holdings_named(connection: AsyncConnection, store: str, names: Sequence[str]) -> dict[str, Holding]:
    """By name; where one name has had several, the latest uid."""
    statement = (
        select(holdings)
        .where(holdings.c.store == store, holdings.c.name == func.any(array("names", TEXT)))
        .order_by(holdings.c.uid)
    )
    found = await connection.execute(statement, {"names": list(names)})
    return {row.name: _holding(row) for row in found}


async def holdings_after(
    connection: AsyncConnection, store: str, name: str, uid: str, limit: int
) -> list[Holding]:
    """The next ones in order of names, after this one."""
    statement = (
        select(holdings)
        .where(
            holdings.c.store == store,
            func.row(holdings.c.name, holdings.c.uid) > func.row(literal(name), literal(uid)),
        )
        .order_by(holdings.c.name, holdings.c.uid)
        .limit(limit)
    )
    return [_holding(row) for row in await connection.execute(statement)]


async def insert_holdings(connection: AsyncConnection, found: Sequence[Holding]) -> None:
    """New ones, of adopted trees."""
    await connection.execute(insert(holdings), [_columns(holding) for holding in found])


async def set_verified(
    connection: AsyncConnection, holding: Holding, looks: Fingerprint, now: datetime
) -> None:
    """Every byte was read again and agreed; this is how it looks now."""
    await connection.execute(
        update(holdings)
        .where(holdings.c.uid == holding.uid, holdings.c.store == holding.store)
        .values(verify_time=now, layout=looks.layout, inodes=looks.inodes, mtime_ns=looks.mtime_ns)
    )


async def delete_brought(
    connection: AsyncConnection, store: str, upload_ids: Sequence[str]
) -> list[Row[Any]]:
    """What these uploads have brought is not held any more; answers size and inodes of each."""
    statement = (
        delete(holdings)
        .where(locked(holdings, in_order(holdings, _BROUGHT, holdings.c.store == store, deleting=True)))
        .returning(holdings.c.size_bytes, holdings.c.inode_count)
    )
    return list(await connection.execute(statement, {"ids": list(upload_ids)}))


async def delete_replaced(connection: AsyncConnection, store: str, uids: Sequence[str]) -> list[Row[Any]]:
    """Whose bytes were gone and have come again; answers size and inodes of each."""
    these = (holdings.c.uid == func.any(array("uids", TEXT)), holdings.c.store == store)
    statement = (
        delete(holdings)
        .where(locked(holdings, in_order(holdings, *these, deleting=True)))
        .returning(holdings.c.size_bytes, holdings.c.inode_count)
    )
    return list(await connection.execute(statement, {"uids": list(uids)}))


async def holders_of(connection: AsyncConnection, store: str, names: Sequence[str]) -> dict[str, set[str]]:
    """Uids of the datasets held at each path, above it or below it."""
    exact = rows(name=TEXT, place=TEXT)
    around = rows(name=TEXT)
    here = holdings.c.store == store
    at_or_above = select(exact.c.name, holdings.c.uid).join_from(
        exact, holdings, here & (holdings.c.name == exact.c.place)
    )
    # `/` is 0x2f, and `0` follows it.
    inside = (holdings.c.name > around.c.name + "/") & (holdings.c.name < around.c.name + "0")
    under = select(around.c.name, holdings.c.uid).join_from(around, holdings, here & inside)
    pairs = [(name, place) for name in names for place in (*ancestors(name), name)]
    columns = values_of(name=[name for name, _ in pairs], place=[place for _, place in pairs])
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, uid in await connection.execute(at_or_above, columns):
        found[name].add(uid)
    for name, uid in await connection.execute(under, values_of(name=list(names))):
        found[name].add(uid)
    return found


async def names_held(connection: AsyncConnection, store: str, names: Sequence[str]) -> set[str]:
    """Which of these are datasets."""
    statement = select(holdings.c.name).where(
        holdings.c.store == store, holdings.c.name == func.any(array("names", TEXT))
    )
    return set((await connection.execute(statement, {"names": list(names)})).scalars())


async def folders_with_holdings(connection: AsyncConnection, store: str, folders: Sequence[str]) -> set[str]:
    """Which of these have datasets below them."""
    given = rows(folder=TEXT)
    folder = given.c.folder
    below = (
        select(holdings.c.uid)
        .where(holdings.c.store == store, holdings.c.name > folder + "/", holdings.c.name < folder + "0")
        .correlate(given)
        .exists()
    )
    found = await connection.execute(select(folder).where(below), values_of(folder=list(folders)))
    return set(found.scalars())


async def known_uploads(connection: AsyncConnection, upload_ids: Sequence[str]) -> set[str]:
    """Which of these have brought what is held."""
    statement = select(func.coalesce(holdings.c.upload_id, holdings.c.uid)).where(_BROUGHT)
    return set((await connection.execute(statement, {"ids": list(upload_ids)})).scalars())


def _columns(holding: Holding) -> dict[str, Any]:
    return {
        "uid": holding.uid,
        "upload_id": holding.upload_id or None,
        "store": holding.store,
        "name": holding.name,
        "kind": int(holding.kind),
        "algorithm": holding.digest.algorithm,
        "digest": holding.digest.value,
        "size_bytes": holding.size_bytes,
        "member_count": holding.member_count,
        "inode_count": holding.inode_count,
        "layout": holding.fingerprint.layout,
        "inodes": holding.fingerprint.inodes,
        "mtime_ns": holding.fingerprint.mtime_ns,
        "verify_time": holding.verify_time,
    }


def _holding(row: Row[Any]) -> Holding:
    return Holding(
        row.uid,
        row.store,
        row.name,
        DatasetKind(row.kind),
        Checksum(row.algorithm, row.digest),
        row.size_bytes,
        row.member_count,
        row.inode_count,
        Fingerprint(row.layout, row.inodes, row.mtime_ns),
        row.verify_time,
        row.upload_id or "",
    )
