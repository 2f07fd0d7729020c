"""librarian transfer show: one transfer, and all that was decided about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, transfer_choice
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian

_WILD = re.compile(r"[*?\[]")


def command(
    which: Annotated[
        str,
        typer.Argument(
            metavar="ID|NAME",
            help="The transfer's id; or a dataset's name, for its newest transfer.",
            show_default=False,
        ),
    ],
    *,
    to: transfer_choice.To = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Show one transfer with its log."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        from datetime import UTC, datetime

        from librarian.cli.jsonform import message_value
        from librarian.cli.transfer_rows import is_there, print_log, print_transfer

        found = await client.transfer(await _id_of(client, which.rstrip("/"), to))
        if output.as_json:
            output.value(message_value(found))
            return
        print_transfer(found.transfer, datetime.now(UTC), output)
        output.line()
        print_log(found.log, output)
        if is_there(found.transfer):
            return
        follow = f"librarian explain '{found.transfer.name}' --at {found.transfer.destination}"
        output.note(f"  `{follow}` tells what it waits for")

    run(body, site=site, as_json=as_json)


async def _id_of(client: Librarian, which: str, to: str) -> str:
    """What is no dataset's name is taken for an id."""
    literal = _WILD.sub(lambda wild: f"[{wild.group()}]", which)
    async for transfer in client.transfers(destination=to, name_glob=literal, limit=1):
        return transfer.transfer_id
    return which
