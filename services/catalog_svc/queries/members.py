"""Members, sent ahead of the publication of their dataset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text, any_, bindparam, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.postgresql import insert

from catalog_svc.membercolumns import MemberColumns
from catalog_svc.tables import members, pending_members
from svckit.database import HotStatement, compile_hot

from .kit import UID, Bare, array, as_text, given


@cache
def _note_pending() -> HotStatement:
    rows = given(uid=UID)
    noted = insert(pending_members).from_select(
        ["dataset_uid", "last_time_us"],
        select(rows.c.uid, bindparam("now_us", type_=BigInteger)).order_by(rows.c.uid),
    )
    return compile_hot(
        noted.on_conflict_do_update(
            index_elements=["dataset_uid"], set_={"last_time_us": noted.excluded.last_time_us}
        )
    )


async def note_pending(connection: Bare, uids: Sequence[str], now_us: int) -> None:
    """Notes that these datasets gain members, and keeps publishers and sweepers of them out until the end
    of the transaction.
    """
    await _note_pending().fetch(connection, uid=uids, now_us=now_us)


@cache
def _lock_pending() -> HotStatement:
    wanted = pending_members.c.dataset_uid == any_(array("uids", UID))
    statement = select(pending_members.c.dataset_uid).where(wanted).order_by(pending_members.c.dataset_uid)
    return compile_hot(statement.with_for_update())


async def lock_pending(connection: Bare, uids: Sequence[str]) -> None:
    """Waits for those who add members to these datasets, and keeps others out."""
    await _lock_pending().fetch(connection, uids=uids)


@cache
def _end_pending() -> HotStatement:
    wanted = pending_members.c.dataset_uid == any_(array("uids", UID))
    return compile_hot(delete_from(pending_members).where(wanted))


async def end_pending(connection: Bare, uids: Sequence[str]) -> None:
    """These datasets wait for publication no more."""
    await _end_pending().fetch(connection, uids=uids)


@cache
def _count() -> HotStatement:
    wanted = members.c.dataset_uid == any_(array("uids", UID))
    statement = select(as_text(members.c.dataset_uid), func.count()).where(wanted)
    return compile_hot(statement.group_by(members.c.dataset_uid))


async def count(connection: Bare, uids: Sequence[str]) -> dict[str, int]:
    """How many members each of these datasets has; those without any are absent."""
    return dict(tuple(row) for row in await _count().fetch(connection, uids=uids))


@cache
def _put() -> HotStatement:
    rows = given(
        uid=UID,
        path=Text(),
        kind=SmallInteger(),
        size=BigInteger(),
        algorithm=Text(),
        checksum=LargeBinary(),
        target=Text(),
        mode=Integer(),
        mtime=BigInteger(),
    )
    names = [column.name for column in members.c]
    put = insert(members).from_select(names, select(*rows.c[:-1]))
    content = [name for name in names if name not in {"dataset_uid", "path"}]
    return compile_hot(
        put.on_conflict_do_update(
            index_elements=["dataset_uid", "path"],
            set_={name: put.excluded[name] for name in content},
        )
    )


async def put(connection: Bare, columns: MemberColumns) -> None:
    """Adds members; of one that is there already the last word holds. No path twice in one call."""
    await _put().fetch(
        connection,
        uid=columns.uids,
        path=columns.paths,
        kind=columns.kinds,
        size=columns.sizes,
        algorithm=columns.algorithms,
        checksum=columns.checksums,
        target=columns.targets,
        mode=columns.modes,
        mtime=columns.mtimes,
    )
