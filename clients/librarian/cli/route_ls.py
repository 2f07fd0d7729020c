"""librarian route ls: where datasets go by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(*, site: options.Site = "", as_json: options.Json = False) -> None:
    """List the routes, by destination."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value
        from librarian.cli.route_rows import print_routes

        routes = await client.routes()
        if output.as_json:
            output.value([message_value(route) for route in routes])
        elif routes:
            print_routes(routes, output)
        else:
            output.line("no routes: `librarian route add --to SITE --match GLOB` makes one")

    run(body, site=site, as_json=as_json)
