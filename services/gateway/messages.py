"""Tokens and roles as the protos write them."""

from __future__ import annotations

from gateway.tokens import Token
from librarian.api.gateway.v1 import gateway_pb2
from librarian.errors import InvalidInput
from librarian.messages import timestamp
from svckit.auth import Role

_TO_PROTO = {
    Role.READER: gateway_pb2.ROLE_READER,
    Role.INGESTER: gateway_pb2.ROLE_INGESTER,
    Role.OPERATOR: gateway_pb2.ROLE_OPERATOR,
    Role.ADMIN: gateway_pb2.ROLE_ADMIN,
}
_FROM_PROTO: dict[int, Role] = {number: role for role, number in _TO_PROTO.items()}


def role_of(number: int) -> Role:
    """Raises InvalidInput."""
    role = _FROM_PROTO.get(number)
    if role is None:
        raise InvalidInput(
            "the request names no role" if number == 0 else f"there is no role {number}",
            remedy=f"use one of: {', '.join(_TO_PROTO)}",
            field="role",
        )
    return role


def token_to_proto(token: Token) -> gateway_pb2.Token:
    """Never holds a secret: a Token does not know it."""
    return gateway_pb2.Token(
        token_id=token.token_id,
        subject=token.subject,
        role=_TO_PROTO[token.role],
        name_prefix=token.name_prefix,
        create_time=timestamp(token.create_time),
        expire_time=None if token.expire_time is None else timestamp(token.expire_time),
        revoke_time=None if token.revoke_time is None else timestamp(token.revoke_time),
    )
