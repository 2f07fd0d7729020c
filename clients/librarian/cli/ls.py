"""librarian ls: datasets by the beginning of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Names starting so.", show_default=False)
    ] = "",
    *,
    at: options.At = "",
    not_at: options.NotAt = "",
    long: options.Long = False,
    names: options.Names = False,
    order: options.OrderBy = "name",
    limit: options.Limit = None,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """List datasets."""
    from librarian.cli.rows import print_datasets
    from librarian.cli.run import run

    wanted_order = options.order(order)

    async def body(client: Librarian, output: Output) -> None:
        found = client.ls(
            prefix,
            has_site=at,
            lacks_site=not_at,
            order=wanted_order,
            limit=limit,
            with_replicas=long or as_json,
        )
        await print_datasets(found, output, names_only=names, long=long)

    run(body, site=site, as_json=as_json)
