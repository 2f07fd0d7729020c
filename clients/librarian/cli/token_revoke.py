"""librarian token revoke: let somebody in no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    token_id: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Its id, as `token ls` shows it.", show_default=False)
    ],
    *,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Revoke a token: within a second, also for what it has open."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        token = await client.revoke_token(token_id)
        if output.as_json:
            output.value(message_value(token))
        else:
            output.line(f"token {token.token_id} of {token.subject} is revoked")

    run(body, site=site, as_json=as_json)
