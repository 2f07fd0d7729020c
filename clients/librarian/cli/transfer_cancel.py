"""librarian transfer cancel: give transfers up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librarian.cli import options, transfer_choice
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian

# Enough to count before asking; more is told as "at least".
COUNTED = 1000


def command(
    which: transfer_choice.Which = None,
    *,
    to: transfer_choice.To = "",
    match: transfer_choice.Match = "",
    route: transfer_choice.Route = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the log.", show_default=False)] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Give transfers up. What is verified at the other side stays there; `transfer retry` takes them up
    again. On a terminal, what is not chosen by ids is counted and asked back.
    """
    from librarian.cli.run import run

    transfer_choice.check(which, to, match, route)

    async def body(client: Librarian, output: Output) -> ExitCode:
        chosen = await transfer_choice.arguments(client, which, to, match, route)
        asks = not ("transfer_ids" in chosen or yes or as_json) and sys.stdin.isatty()
        if asks and not await _agreed(client, chosen, output):
            return ExitCode.FAILED
        answer = await client.cancel_transfers(**chosen, reason=reason)
        return transfer_choice.conclude(
            answer,
            output,
            done="given up; `librarian transfer retry` takes up again what was not meant",
            none="nothing to give up: none of them is on its way",
        )

    run(body, site=site, as_json=as_json)


async def _agreed(client: Librarian, chosen: dict[str, Any], output: Output) -> bool:
    from librarian.cli.asking import confirmed
    from librarian.cli.texts import counted, size_text

    sizes = [one.size_bytes async for one in client.transfers(_unfinished(), **chosen, limit=COUNTED)]
    if not sizes:
        return True
    least = "at least " if len(sizes) == COUNTED else ""
    if await confirmed(f"give up {least}{counted(len(sizes), 'transfer')}, {size_text(sum(sizes))}?"):
        return True
    output.note("nothing was changed")
    return False


def _unfinished() -> list[Any]:
    from librarian.api.transfer.v1 import transfer_pb2

    return [
        transfer_pb2.TRANSFER_STATE_PLANNED,
        transfer_pb2.TRANSFER_STATE_QUEUED,
        transfer_pb2.TRANSFER_STATE_OFFERED,
        transfer_pb2.TRANSFER_STATE_MOVING,
        transfer_pb2.TRANSFER_STATE_DELIVERED,
        transfer_pb2.TRANSFER_STATE_HELD,
        transfer_pb2.TRANSFER_STATE_FAILED,
    ]
