"""librarian explain: why a dataset is, or is not yet, at a site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    name: options.Name,
    *,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="SITE|STORE",
            help="The peer or store asked about; else every one that has to do with it.",
            show_default=False,
        ),
    ] = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Tell why a dataset is, or is not yet, at a site or store: by which route, what it waits for and since
    when, what was tried, and what happens next. Exit code 0 when it is there, else 1.
    """
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> ExitCode:
        from datetime import UTC, datetime

        from librarian.cli.explain_text import explained_value, is_there, print_explained

        found = await client.explain(name.rstrip("/"), at)
        if output.as_json:
            output.value(explained_value(found))
        else:
            print_explained(found, datetime.now(UTC), output)
        return ExitCode.DONE if is_there(found) else ExitCode.FAILED

    run(body, site=site, as_json=as_json)
