"""What admins do with tokens. One transaction each; secrets pass through and are kept nowhere."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable

from gateway import queries
from gateway.messages import role_of, token_to_proto
from gateway.tables import idempotency
from gateway.tokens import (
    REPLAY_KEPT,
    Token,
    check_prefix,
    check_subject,
    derived_secret,
    digest_of,
    expiry,
    same_digest,
)
from librarian.api.gateway.v1.gateway_pb2 import (
    IssueTokenRequest,
    IssueTokenResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
)
from librarian.errors import Refused, TokenNotFound
from svckit.auth import Caller, Role
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.idempotency import once, sweep

_SALT_BYTES = 32


class TokenDesk:
    """`key`: with the salts it makes secrets again. `store_services`: told when a token ends."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, *, key: bytes, store_services: Iterable[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._key = key
        self._store_services = tuple(store_services)

    async def issue(self, request: IssueTokenRequest, caller: Caller) -> IssueTokenResponse:
        """A new token and its secret; the same ones again for the same request within 7 days.

        The secret comes of the gateway's key and a salt in the database: neither alone tells it, and the
        salt goes with the record of the request. Raises InvalidInput, InvalidName, InvalidGlob,
        RequestIdReused, Refused (a repeat whose secret cannot be made again).
        """
        now = self._clock.now()

        async def make() -> IssueTokenResponse:
            role = role_of(request.role)
            token = Token(
                token_id=self._ids.new_uid(),
                subject=check_subject(request.subject),
                role=role,
                name_prefix=check_prefix(request.name_prefix, role),
                create_time=now,
                expire_time=expiry(now, request.lifetime_seconds),
            )
            salt = secrets.token_bytes(_SALT_BYTES)
            digest = digest_of(derived_secret(self._key, token.token_id, salt))
            await queries.add_token(connection, token, digest=digest, replay_salt=salt)
            return IssueTokenResponse(token=token_to_proto(token))

        async with self._database.transaction() as connection:
            response = await once(
                connection,
                idempotency,
                request_id=request.request_id,
                caller=caller.token_id,
                method="IssueToken",
                request=request,
                response_type=IssueTokenResponse,
                now=now,
                action=make,
            )
            replay = await queries.replay_of(connection, response.token.token_id)
        response.secret = self._secret_again(response.token.token_id, replay)
        return response

    async def add_admin(self, subject: str, secret: str) -> Token:
        """Makes the bearer of this secret an admin."""
        token = Token(self._ids.new_uid(), subject, Role.ADMIN, "", self._clock.now())
        async with self._database.transaction() as connection:
            await queries.add_token(connection, token, digest=digest_of(secret), replay_salt=None)
        return token

    async def get(self, token_id: str) -> Token:
        """Raises TokenNotFound."""
        async with self._database.transaction() as connection:
            return _found(await queries.token_by_id(connection, _checked(token_id)), token_id)

    async def page(self, after: str | None, limit: int) -> list[Token]:
        """Tokens in the order of their making."""
        async with self._database.transaction() as connection:
            return await queries.tokens_after(connection, after, limit)

    async def revoke(self, request: RevokeTokenRequest, caller: Caller) -> RevokeTokenResponse:
        """Ends a token, tells the other gateways, and puts down what the store services must be told.
        Revoking one twice is harmless. Raises TokenNotFound, RequestIdReused.
        """
        now = self._clock.now()
        token_id = _checked(request.token_id)

        async def end() -> RevokeTokenResponse:
            token = _found(await queries.revoke_token(connection, token_id, now), token_id)
            for store_service in self._store_services:
                await queries.add_ticket_revocation(
                    connection, token_id, store_service, request_id=self._ids.new_uid(), now=now
                )
            await queries.tell_gateways(connection, token_id)
            return RevokeTokenResponse(token=token_to_proto(token))

        async with self._database.transaction() as connection:
            return await once(
                connection,
                idempotency,
                request_id=request.request_id,
                caller=caller.token_id,
                method="RevokeToken",
                request=request,
                response_type=RevokeTokenResponse,
                now=now,
                action=end,
            )

    async def sweep(self) -> None:
        """Forgets the records of old requests, and with them the salts of the secrets they answered."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            await queries.forget_salts(connection, now - REPLAY_KEPT)
            await sweep(connection, idempotency, now=now)

    def _secret_again(self, token_id: str, replay: tuple[bytes | None, bytes] | None) -> str:
        salt, digest = replay or (None, b"")
        secret = "" if salt is None else derived_secret(self._key, token_id, salt)
        if not same_digest(digest_of(secret), digest):
            raise Refused(
                f"this request made token {token_id} before, and its secret cannot be told a second time",
                remedy=f"revoke token {token_id} and issue another one with a new request_id",
                token_id=token_id,
            )
        return secret


def _checked(token_id: str) -> str:
    try:
        return str(uuid.UUID(token_id))
    except ValueError:
        # Not repeated in the message, which is logged: people give the secret where the id is wanted.
        raise TokenNotFound("a token is named by its id, a UUID, and this is none") from None


def _found(token: Token | None, token_id: str) -> Token:
    if token is None:
        raise TokenNotFound(f"there is no token {token_id}")
    return token
