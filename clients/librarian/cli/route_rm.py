"""librarian route rm: an end of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, route_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(route: route_options.Which, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Remove a route. Its transfers that have not started are cancelled, those under way end; what arrived
    stays.
    """
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.route_rows import told_route
        from librarian.cli.texts import counted

        found = await client.find_route(route)
        cancelled = await client.remove_route(found.route_id)
        if output.as_json:
            output.value({"route_id": found.route_id, "cancelled_count": cancelled})
        else:
            output.line(
                f"removed: {told_route(found)}\n"
                f"  {counted(cancelled, 'transfer')} that had not started "
                f"{'is' if cancelled == 1 else 'are'} cancelled; what is under way ends"
            )

    run(body, site=site, as_json=as_json)
