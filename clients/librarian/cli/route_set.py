"""librarian route set: change what may be changed of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from librarian.cli import options, route_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    route: route_options.Which,
    *,
    priority: route_options.Priority = None,
    max_active: route_options.MaxActive = None,
    limit: route_options.Limit = "",
    landing: route_options.Landing = None,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Change a route. Only what is given changes."""
    from librarian.cli.run import run

    wanted = route_options.fields(priority=priority, max_active=max_active, limit=limit, landing=landing)
    if not wanted:
        raise typer.BadParameter("say what shall change: librarian route set --help lists it")

    async def body(client: Librarian, output: Output) -> None:
        from librarian.api.transfer.v1 import transfer_pb2
        from librarian.cli.jsonform import message_value
        from librarian.cli.route_rows import print_routes

        found = await client.find_route(route)
        changed = await client.update_route(
            transfer_pb2.Route(route_id=found.route_id, **wanted), sorted(wanted)
        )
        if output.as_json:
            output.value(message_value(changed))
        else:
            print_routes([changed], output)

    run(body, site=site, as_json=as_json)
