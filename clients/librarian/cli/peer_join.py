"""librarian peer join: know another site, and be known there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="What `peer invite` printed there.", show_default=False)
    ],
    *,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Also where it is reached unencrypted on another machine.")
    ] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Redeem another site's code: both pin each other's key and address."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        peer = await client.join_peer(code, insecure=insecure)
        if output.as_json:
            output.value(message_value(peer))
            return
        output.line(
            f"{peer.name} is a peer, at {peer.address}, key {peer.keys[-1].key_id}\n"
            f"  `librarian route add --to {peer.name} --match GLOB` sends datasets there"
        )

    run(body, site=site, as_json=as_json)
