"""librarian peer rm: an end of knowing another site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, peer_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(name: peer_options.Name, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Remove another site: its keys open nothing any more. Receipts and history stay."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        peer = await client.remove_peer(name)
        if output.as_json:
            output.value(message_value(peer))
        else:
            output.line(
                f"{name} is removed; what it has receipted stays known\n"
                f"  there, `librarian peer rm` removes this site; to be peers again, invite and join anew"
            )

    run(body, site=site, as_json=as_json)
