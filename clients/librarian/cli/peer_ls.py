"""librarian peer ls: the other sites, and how the links to them are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    *,
    removed: Annotated[bool, typer.Option("--removed", help="Removed ones too.")] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """List the other sites this one knows, and how the link to each is."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.peer_rows import print_peers

        peers = await client.peers(with_removed=removed)
        if output.as_json:
            output.value([message_value(peer) for peer in peers])
        elif peers:
            print_peers(peers, output)
        else:
            output.line("no peers: `librarian peer invite NAME` makes a code for another site to join with")

    run(body, site=site, as_json=as_json)
