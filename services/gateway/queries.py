"""Every statement the gateway says to PostgreSQL: one function each, named for its purpose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import Connection
from sqlalchemy import ARRAY, Row, Uuid, any_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import ticket_revocations, tokens
from gateway.tokens import Token
from svckit.auth import Role
from svckit.hot import compile_hot

_TOKEN = (
    tokens.c.token_id,
    tokens.c.subject,
    tokens.c.role,
    tokens.c.name_prefix,
    tokens.c.create_time,
    tokens.c.expire_time,
    tokens.c.revoke_time,
)

_BY_DIGEST = compile_hot(
    select(*_TOKEN, tokens.c.secret_sha256).where(tokens.c.secret_sha256 == bindparam("digest"))
)
_BY_IDS = compile_hot(
    select(*_TOKEN).where(tokens.c.token_id == any_(bindparam("ids", type_=ARRAY(Uuid(as_uuid=False)))))
)


def channel_of(schema: str) -> str:
    """The NOTIFY channel on which the ends of tokens are told; the payload is a token_id."""
    return f"{schema}_tokens"


async def token_by_digest(connection: Connection[Any], digest: bytes) -> tuple[Token, bytes] | None:
    """The token whose secret has this sha256, and the stored sha256."""
    row = await _BY_DIGEST.fetchrow(connection, digest=digest)
    return None if row is None else (_token(row), row["secret_sha256"])


async def tokens_by_ids(connection: Connection[Any], token_ids: Sequence[str]) -> dict[str, Token]:
    """Those of the tokens that exist, by id."""
    found = (_token(row) for row in await _BY_IDS.fetch(connection, ids=token_ids))
    return {token.token_id: token for token in found}


async def add_token(
    connection: AsyncConnection, token: Token, *, digest: bytes, replay_salt: bytes | None
) -> None:
    """Keeps a new token."""
    await connection.execute(
        insert(tokens).values(
            token_id=token.token_id,
            secret_sha256=digest,
            subject=token.subject,
            role=token.role.value,
            name_prefix=token.name_prefix,
            create_time=token.create_time,
            expire_time=token.expire_time,
            replay_salt=replay_salt,
        )
    )


async def replay_of(connection: AsyncConnection, token_id: str) -> tuple[bytes | None, bytes] | None:
    """The salt of a token's secret, while it is kept, and the secret's sha256."""
    row = (
        await connection.execute(
            select(tokens.c.replay_salt, tokens.c.secret_sha256).where(tokens.c.token_id == token_id)
        )
    ).one_or_none()
    return None if row is None else (row.replay_salt, row.secret_sha256)


async def token_by_id(connection: AsyncConnection, token_id: str) -> Token | None:
    """One token."""
    row = (await connection.execute(select(*_TOKEN).where(tokens.c.token_id == token_id))).one_or_none()
    return None if row is None else _token(row._mapping)  # noqa: SLF001 - its public name


async def tokens_after(connection: AsyncConnection, token_id: str | None, limit: int) -> list[Token]:
    """A page of tokens, oldest first, after the given one."""
    statement = select(*_TOKEN).order_by(tokens.c.token_id).limit(limit)
    if token_id is not None:
        statement = statement.where(tokens.c.token_id > token_id)
    return [_token(row._mapping) for row in await connection.execute(statement)]  # noqa: SLF001 - its public name


async def revoke_token(connection: AsyncConnection, token_id: str, now: datetime) -> Token | None:
    """Marks a token as revoked, from its first revocation on; None where there is none."""
    row: Row[Any] | None = (
        await connection.execute(
            update(tokens)
            .where(tokens.c.token_id == token_id)
            .values(revoke_time=func.coalesce(tokens.c.revoke_time, now))
            .returning(*_TOKEN)
        )
    ).one_or_none()
    return None if row is None else _token(row._mapping)  # noqa: SLF001 - its public name


async def tell_gateways(connection: AsyncConnection, token_id: str) -> None:
    """Notifies every gateway of this schema, at commit, that a token has ended."""
    await connection.execute(select(func.pg_notify(func.current_schema().concat("_tokens"), token_id)))


async def forget_salts(connection: AsyncConnection, before: datetime) -> None:
    """Drops the salts of tokens made before a time: their secrets cannot be made again from then on."""
    await connection.execute(
        update(tokens)
        .where(tokens.c.replay_salt.is_not(None), tokens.c.create_time < before)
        .values(replay_salt=None)
    )


async def add_ticket_revocation(
    connection: AsyncConnection, token_id: str, store_service: str, *, request_id: str, now: datetime
) -> None:
    """Puts down that a store service must be told; where it waits for that already it goes on waiting."""
    await connection.execute(
        insert(ticket_revocations)
        .values(token_id=token_id, store_service=store_service, request_id=request_id, not_before=now)
        .on_conflict_do_nothing()
    )


async def due_ticket_revocations(
    connection: AsyncConnection, store_service: str, now: datetime, limit: int
) -> Sequence[Row[Any]]:
    """What one store service is to be told now, longest waiting first."""
    statement = (
        select(ticket_revocations)
        .where(ticket_revocations.c.store_service == store_service, ticket_revocations.c.not_before <= now)
        .order_by(ticket_revocations.c.not_before)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def next_ticket_revocation(connection: AsyncConnection, store_service: str) -> datetime | None:
    """When there is next something to tell a store service; None while nothing waits."""
    statement = select(func.min(ticket_revocations.c.not_before)).where(
        ticket_revocations.c.store_service == store_service
    )
    found: datetime | None = (await connection.execute(statement)).scalar_one()
    return found


async def drop_ticket_revocation(connection: AsyncConnection, token_id: str, store_service: str) -> None:
    """Takes one off the list: it was told."""
    await connection.execute(
        delete(ticket_revocations).where(
            ticket_revocations.c.token_id == token_id,
            ticket_revocations.c.store_service == store_service,
        )
    )


async def postpone_ticket_revocation(
    connection: AsyncConnection, token_id: str, store_service: str, not_before: datetime
) -> None:
    """Leaves one on the list for a later attempt."""
    await connection.execute(
        update(ticket_revocations)
        .where(
            ticket_revocations.c.token_id == token_id,
            ticket_revocations.c.store_service == store_service,
        )
        .values(not_before=not_before, attempt_count=ticket_revocations.c.attempt_count + 1)
    )


def _token(row: Any) -> Token:
    return Token(
        token_id=str(row["token_id"]),
        subject=row["subject"],
        role=Role(row["role"]),
        name_prefix=row["name_prefix"],
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
    )
