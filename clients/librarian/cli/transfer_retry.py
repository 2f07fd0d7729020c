"""librarian transfer retry: again, now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options, transfer_choice
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    which: transfer_choice.Which = None,
    *,
    to: transfer_choice.To = "",
    match: transfer_choice.Match = "",
    route: transfer_choice.Route = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Try transfers again now: held, failed and cancelled ones, and those that wait for their next try."""
    from librarian.cli.run import run

    transfer_choice.check(which, to, match, route)

    async def body(client: Librarian, output: Output) -> ExitCode:
        chosen = await transfer_choice.arguments(client, which, to, match, route)
        answer = await client.retry_transfers(**chosen)
        return transfer_choice.conclude(
            answer,
            output,
            done="tried again now; `librarian transfer watch` shows it",
            none="nothing to try again: none of them is held, failed, cancelled or waiting",
        )

    run(body, site=site, as_json=as_json)
