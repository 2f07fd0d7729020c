"""librarian peer resume: go on with another site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, peer_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(name: peer_options.Name, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Talk with a paused site again; transfers go on where they were."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        peer = await client.pause_peer(name, paused=False)
        if output.as_json:
            output.value(message_value(peer))
        else:
            output.line(f"{name} goes on\n  `librarian peer ls` tells how the link is")

    run(body, site=site, as_json=as_json)
