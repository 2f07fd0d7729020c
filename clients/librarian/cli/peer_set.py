"""librarian peer set: where another site is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, peer_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    name: peer_options.Name,
    *,
    address: Annotated[
        str | None,
        typer.Option(help="As grpcs://host:port; '' where it cannot be called.", show_default=False),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(help="Call it unencrypted on another machine.", show_default=False),
    ] = None,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Change where another site is reached. Sites tell one another their addresses: rarely needed."""
    from librarian.cli.run import run

    if address is None and insecure is None:
        raise typer.BadParameter("say what shall change: --address, --insecure or --no-insecure")

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.peer_rows import print_peers

        peer = await client.set_peer(name, address=address, insecure=insecure)
        if output.as_json:
            output.value(message_value(peer))
        else:
            print_peers([peer], output)

    run(body, site=site, as_json=as_json)
