"""Whether a statement of many rows locks them in the order of their keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from support.eventually import eventually
from svckit.database import Database

# Of this transaction, which the waiting one waits for: another test's are none of its business.
_WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = any(pg_blocking_pids(pid))"
)


async def is_waited_for(holder: AsyncConnection) -> bool:
    """Another transaction waits for a lock of this one."""
    return bool((await holder.execute(_WAITING)).scalar_one())


async def check_locks_in_order(
    database: Database,
    key: Column[Any],
    keys: Sequence[Any],
    run: Callable[[AsyncConnection], Awaitable[object]],
) -> None:
    """The least of `keys` is another's, so `run` waits for it; it must hold none of the others meanwhile."""
    first, *others = sorted(keys)
    rows = select(key).where(key.in_(keys))

    async def change() -> None:
        async with database.transaction() as connection:
            await run(connection)

    async with database.transaction() as holder, database.transaction() as other:
        await holder.execute(rows.where(key == first).with_for_update())
        changing = asyncio.create_task(change())
        await eventually(lambda: is_waited_for(holder))
        free = await other.execute(rows.order_by(key).with_for_update(skip_locked=True))
        assert list(free.scalars()) == others
        await other.rollback()
        await holder.rollback()
    await changing
