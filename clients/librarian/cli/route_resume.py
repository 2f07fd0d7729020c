"""librarian route resume: a paused route goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, route_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(route: route_options.Which, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Let a paused route go on with what has queued up."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.route_rows import told_route

        found = await client.find_route(route)
        resumed = await client.pause_route(found.route_id, pause=False)
        if output.as_json:
            output.value(message_value(resumed))
        else:
            output.line(
                f"goes on: {told_route(resumed)}\n"
                f"  `librarian transfer watch --to {resumed.destination}` shows it"
            )

    run(body, site=site, as_json=as_json)
