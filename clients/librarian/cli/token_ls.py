"""librarian token ls: who may use the site."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from librarian.cli import options
from librarian.cli.output import Column, Output

if TYPE_CHECKING:
    from librarian.api.gateway.v1 import gateway_pb2
    from librarian.client import Librarian


def command(*, site: options.Site = "", as_json: options.Json = False) -> None:
    """List tokens, without their secrets."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        tokens = [token async for token in client.tokens()]
        if output.as_json:
            output.value([message_value(token) for token in tokens])
            return
        columns = [Column("TOKEN"), Column("WHO"), Column("ROLE"), Column("NAMES"), Column("STATE")]
        now = datetime.now(UTC)
        output.table(columns, [_row(token, now) for token in tokens])

    run(body, site=site, as_json=as_json)


def _row(token: gateway_pb2.Token, now: datetime) -> list[str]:
    from librarian.api.gateway.v1 import gateway_pb2
    from librarian.cli.texts import label
    from librarian.names import printable

    role = label(gateway_pb2.Role.Name(token.role), "ROLE_")
    return [token.token_id, printable(token.subject), role, token.name_prefix or "all", _state(token, now)]


def _state(token: gateway_pb2.Token, now: datetime) -> str:
    from librarian.cli.texts import time_text
    from librarian.messages import datetime_of

    if token.HasField("revoke_time"):
        return f"revoked {time_text(datetime_of(token.revoke_time))}"
    if not token.HasField("expire_time"):
        return "good"
    end = datetime_of(token.expire_time)
    return f"{'good until' if end > now else 'expired'} {time_text(end)}"
