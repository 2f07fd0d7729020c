"""Everything can be done twice: what a mutation answered is kept under its request_id.

The record is written in the transaction of the mutation itself, so either both are there or neither.
A caller's ids are its own: two callers that choose the same one do not meet.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.errors import InvalidInput, RequestIdReused

KEPT = timedelta(days=7)

M = TypeVar("M", bound=Message)


def idempotency_table(metadata: MetaData) -> Table:
    """`request_digest`: sha256 of method and request. `response` is null only inside the transaction."""
    return Table(
        "idempotency",
        metadata,
        Column("caller", Text(collation="C"), primary_key=True),
        Column("request_id", Text(collation="C"), primary_key=True),
        Column("request_digest", LargeBinary, nullable=False),
        Column("response", LargeBinary),
        Column("create_time", DateTime(timezone=True), nullable=False, index=True),
    )


async def once(
    connection: AsyncConnection,
    table: Table,
    *,
    request_id: str,
    caller: str,
    method: str,
    request: Message,
    response_type: type[M],
    now: datetime,
    action: Callable[[], Awaitable[M]],
) -> M:
    """The answer of `action`, or what it answered the first time this request came.

    A second call that comes while the first is under way waits for its end. Raises InvalidInput for an
    id that is no UUID, RequestIdReused where the id came with another request.
    """
    key = check_request_id(request_id)
    digest = _digest(method, request)
    claimed = await connection.execute(
        insert(table)
        .values(caller=caller, request_id=key, request_digest=digest, create_time=now)
        .on_conflict_do_nothing()
    )
    mine = (table.c.caller == caller) & (table.c.request_id == key)
    if claimed.rowcount == 0:
        row = (await connection.execute(select(table).where(mine))).one()
        if row.request_digest != digest:
            raise RequestIdReused(
                f"request_id {request_id} came before with another request", request_id=request_id
            )
        return response_type.FromString(row.response)
    response = await action()
    await connection.execute(update(table).where(mine).values(response=response.SerializeToString()))
    return response


async def sweep(connection: AsyncConnection, table: Table, *, now: datetime, limit: int = 10_000) -> int:
    """Forgets up to `limit` records older than 7 days; answers how many."""
    old = select(table.c.caller, table.c.request_id).where(table.c.create_time < now - KEPT).limit(limit)
    chosen = old.with_for_update(skip_locked=True).cte("old")
    matches = (table.c.caller == chosen.c.caller) & (table.c.request_id == chosen.c.request_id)
    return (await connection.execute(delete(table).where(matches))).rowcount


def check_request_id(request_id: str) -> str:
    """The id in canonical form. Raises InvalidInput."""
    try:
        return str(uuid.UUID(request_id))
    except ValueError as error:
        what = f"request_id {request_id!r} is no UUID" if request_id else "the request has no request_id"
        raise InvalidInput(what, remedy="choose a new UUID for each request", field="request_id") from error


def _digest(method: str, request: Message) -> bytes:
    return hashlib.sha256(method.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()
