"""librarian transfer prioritize: what goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, transfer_choice
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    priority: Annotated[
        int,
        typer.Argument(
            metavar="N",
            min=-100,
            max=100,
            help="-100 to 100, higher goes first; a negative one stands after all options and `--`.",
            show_default=False,
        ),
    ],
    which: transfer_choice.Which = None,
    *,
    to: transfer_choice.To = "",
    match: transfer_choice.Match = "",
    route: transfer_choice.Route = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Let transfers that have not started go before others, or after them."""
    from librarian.cli.run import run

    transfer_choice.check(which, to, match, route)

    async def body(client: Librarian, output: Output) -> ExitCode:
        chosen = await transfer_choice.arguments(client, which, to, match, route)
        answer = await client.prioritize_transfers(priority, **chosen)
        return transfer_choice.conclude(
            answer,
            output,
            done=f"put at priority {priority}; `librarian transfer ls --state queued` shows what waits",
            none="nothing to put in order: none of them waits for its turn",
        )

    run(body, site=site, as_json=as_json)
