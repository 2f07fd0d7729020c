"""librarian find: datasets by what is known about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, parse
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    glob: Annotated[
        str,
        typer.Argument(
            metavar="GLOB",
            help="Over whole names: `*` stays inside a part, `**` crosses parts. Quote it.",
            show_default=False,
        ),
    ] = "",
    *,
    tag: options.Tag = [],  # noqa: B006 - typer takes defaults as they are
    uploader: Annotated[str, typer.Option(metavar="WHO", help="Brought by.", show_default=False)] = "",
    larger: Annotated[
        str, typer.Option(metavar="SIZE", help="At least so large (20MB, 1.5GiB).", show_default=False)
    ] = "",
    smaller: Annotated[str, typer.Option(metavar="SIZE", help="At most so large.", show_default=False)] = "",
    after: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Made at or after (2026-11-22; 7d: a week ago).", show_default=False
        ),
    ] = "",
    before: Annotated[str, typer.Option(metavar="TIME", help="Made before.", show_default=False)] = "",
    on: Annotated[
        str, typer.Option(metavar="STORE", help="With a good copy there.", show_default=False)
    ] = "",
    not_on: Annotated[
        str, typer.Option(metavar="STORE", help="Without a good copy there.", show_default=False)
    ] = "",
    at: options.At = "",
    not_at: options.NotAt = "",
    state: Annotated[
        str,
        typer.Option(metavar="STATE", help="With a copy that is suspect, corrupt, ...", show_default=False),
    ] = "",
    long: options.Long = False,
    names: options.Names = False,
    order: options.OrderBy = "name",
    limit: options.Limit = None,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Find datasets by what is known about them."""
    from librarian.cli.rows import print_datasets
    from librarian.cli.run import run

    now = datetime.now(UTC)
    wanted_tags, wanted_order = parse.tags(tag), options.order(order)
    min_size = parse.size(larger, "--larger") if larger else None
    max_size = parse.size(smaller, "--smaller") if smaller else None
    created_after = parse.moment(after, "--after", now=now) if after else None
    created_before = parse.moment(before, "--before", now=now) if before else None

    async def body(client: Librarian, output: Output) -> None:
        found = client.find(
            glob,
            tags=wanted_tags,
            uploader=uploader,
            min_size_bytes=min_size,
            max_size_bytes=max_size,
            created_after=created_after,
            created_before=created_before,
            has_store=on,
            lacks_store=not_on,
            has_site=at,
            lacks_site=not_at,
            has_replica_state=state,
            order=wanted_order,
            limit=limit,
            with_replicas=long or as_json,
        )
        await print_datasets(found, output, names_only=names, long=long)

    run(body, site=site, as_json=as_json)
