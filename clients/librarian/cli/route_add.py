"""librarian route add: datasets like this go there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, parse, route_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.client import Librarian

WAYS = ("stream", "rsync", "posix", "relay")


def command(
    *,
    to: Annotated[
        str, typer.Option(metavar="SITE|STORE", help="A peer, or a store of this site.", show_default=False)
    ],
    match: Annotated[
        str,
        typer.Option(
            metavar="GLOB",
            help="Datasets whose names match: `*` stays inside a part, `**` crosses parts. Quote it. All, "
            "unless given.",
            show_default=False,
        ),
    ] = "",
    via: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="stream, rsync, posix (a file system both see), or relay (a peer sends it on). stream, "
            "unless given.",
            show_default=False,
        ),
    ] = "",
    priority: route_options.Priority = None,
    max_active: route_options.MaxActive = None,
    limit: route_options.Limit = "",
    tag: options.Tag = [],  # noqa: B006 - typer takes defaults as they are
    landing: route_options.Landing = None,
    through: Annotated[
        str,
        typer.Option(
            metavar="PEER", help="relay: the peer whose own route carries it on.", show_default=False
        ),
    ] = "",
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Also the datasets that are older than the route.")
    ] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Send datasets like this there, from now on. With --tag: only those that have all of the tags (KEY=
    matches any value).
    """
    from librarian.cli.run import run

    way = via or ("relay" if through else "stream")
    if way not in WAYS:
        raise typer.BadParameter(f"--via: {via!r} is none of {', '.join(WAYS)}")
    if (way == "relay") != bool(through):
        raise typer.BadParameter("--via relay and --through PEER belong together")
    wanted = route_options.fields(priority=priority, max_active=max_active, limit=limit, landing=landing)
    tags = parse.tags(tag)

    async def body(client: Librarian, output: Output) -> None:
        from librarian.api.transfer.v1 import transfer_pb2
        from librarian.cli.jsonform import message_value

        route = transfer_pb2.Route(
            destination=to, name_glob=match, tags=tags, via=way, through=through, **wanted
        )
        added = await client.add_route(route, backfill=backfill)
        if output.as_json:
            output.value(message_value(added))
        else:
            output.line(_told(added, backfill=backfill))

    run(body, site=site, as_json=as_json)


def _told(route: transfer_pb2.Route, *, backfill: bool) -> str:
    from librarian.cli.route_rows import match_text, via_text

    what = "datasets old and new" if backfill else "new datasets"
    older = "" if backfill else "; those that are here already stay (--backfill would send them too)"
    if route.via == "relay":
        follow = f"`librarian explain NAME --at {route.destination}` tells how one of them is"
    else:
        follow = f"`librarian transfer watch --to {route.destination}` shows them go"
    return (
        f"{what} matching {match_text(route)} go to {route.destination} by {via_text(route)}{older}\n"
        f"  route {route.route_id}\n"
        f"  {follow}"
    )
