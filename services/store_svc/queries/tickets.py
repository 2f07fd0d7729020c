"""Statements about what tickets are signed with, and whose are refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store_svc.queries.arrays import TEXT, rows, values_of
from store_svc.tables import revoked_tokens, ticket_secrets


async def secrets_of(connection: AsyncConnection, fresh: bytes) -> dict[int, bytes]:
    """All by key id; `fresh` becomes the first where there is none yet."""
    await connection.execute(insert(ticket_secrets).values(key_id=1, secret=fresh).on_conflict_do_nothing())
    found = await connection.execute(select(ticket_secrets.c.key_id, ticket_secrets.c.secret))
    return {key_id: secret for key_id, secret in found}  # noqa: C416 - rows are no pairs to mypy


async def revoke(connection: AsyncConnection, token_ids: Sequence[str], now: datetime) -> None:
    """Refuses the tickets of these tokens from now on."""
    given = rows(token_id=TEXT)
    statement = (
        insert(revoked_tokens)
        .from_select(["token_id", "revoke_time"], select(given.c.token_id, literal(now)))
        .on_conflict_do_nothing()
    )
    await connection.execute(statement, values_of(token_id=list(token_ids)))


async def revoked(connection: AsyncConnection) -> set[str]:
    """Token ids whose tickets may not have expired yet."""
    return set((await connection.execute(select(revoked_tokens.c.token_id))).scalars())


async def forget_revoked(connection: AsyncConnection, before: datetime) -> None:
    """Those so old that every ticket of theirs has expired."""
    await connection.execute(delete(revoked_tokens).where(revoked_tokens.c.revoke_time < before))
