"""librarian token issue: let somebody in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, parse
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    subject: Annotated[str, typer.Argument(metavar="WHO", help="A person or a program.", show_default=False)],
    *,
    role: Annotated[str, typer.Option(help="reader, ingester, operator or admin.")] = "reader",
    prefix: Annotated[
        str, typer.Option(metavar="GLOB", help="Only names there, as 'satp3/**'.", show_default=False)
    ] = "",
    lifetime: Annotated[
        str, typer.Option(metavar="TIME", help="As 12h, 90d; else no end.", show_default=False)
    ] = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Make a token and print its secret, once: only its hash is kept."""
    from librarian.cli.run import run

    seconds = parse.duration(lifetime, "--lifetime") if lifetime else 0

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        issued = await client.issue_token(subject, role, name_prefix=prefix, lifetime_seconds=seconds)
        if output.as_json:
            output.value(message_value(issued))
            return
        # The secret alone on stdout, so that it can be piped into a file.
        sys.stdout.write(issued.secret + "\n")
        output.note(
            f"token {issued.token.token_id} for {subject}, {role}: keep the secret, it is not shown again\n"
            f"to use it: LIBRARIAN_ADDRESS={client.settings.address.text} LIBRARIAN_TOKEN=…"
        )

    run(body, site=site, as_json=as_json)
