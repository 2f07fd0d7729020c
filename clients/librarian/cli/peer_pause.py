"""librarian peer pause: nothing to and from another site for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, peer_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(name: peer_options.Name, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Stop talking with another site, within a second: what is under way ends too, and can go on later."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        peer = await client.pause_peer(name)
        if output.as_json:
            output.value(message_value(peer))
        else:
            output.line(f"{name} is paused\n  `librarian peer resume {name}` lets it go on")

    run(body, site=site, as_json=as_json)
