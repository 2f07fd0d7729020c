"""librarian store drain: no new data for a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, store_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    name: store_options.StoreName,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take new data again.")] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Give a store no new data. What is there can be read, and what was begun is finished."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli.jsonform import message_value

        store = await client.drain_store(name, drain=not undo)
        if output.as_json:
            output.value(message_value(store))
        else:
            output.line(f"{store.name} takes {'new data again' if undo else 'no new data'}")

    run(body, site=site, as_json=as_json)
