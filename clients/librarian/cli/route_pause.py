"""librarian route pause: nothing new goes this way for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, route_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(route: route_options.Which, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Start nothing more on a route. What is under way ends, and new datasets queue up."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.route_rows import told_route

        found = await client.find_route(route)
        paused = await client.pause_route(found.route_id)
        if output.as_json:
            output.value(message_value(paused))
        else:
            output.line(
                f"paused: {told_route(paused)}\n  `librarian route resume {paused.route_id}` lets it go on"
            )

    run(body, site=site, as_json=as_json)
