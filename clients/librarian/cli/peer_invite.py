"""librarian peer invite: a code for another site."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, parse
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The other site's own name.", show_default=False)
    ],
    *,
    lifetime: Annotated[
        str, typer.Option(metavar="TIME", help="As 2h, 7d; else a day.", show_default=False)
    ] = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Make a code that lets another site join this one, once."""
    from librarian.cli.run import run

    seconds = parse.duration(lifetime, "--lifetime") if lifetime else 0

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.texts import time_text
        from librarian.messages import datetime_of

        invited = await client.invite_peer(name, lifetime_seconds=seconds)
        if output.as_json:
            output.value(message_value(invited))
            return
        # The code alone on stdout, so that it can be piped into a file.
        sys.stdout.write(invited.code + "\n")
        output.note(
            f"good once, until {time_text(datetime_of(invited.expire_time))}, and not shown again: "
            f"whoever has it can join as {name}\nat {name}: librarian peer join CODE"
        )

    run(body, site=site, as_json=as_json)
