"""Which transfers a command is about, and what became of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.client import Librarian

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID|NAME|GLOB",
        help="Ids, as `transfer ls -l` shows them; or names of datasets, or globs over them. Quote globs.",
        show_default=False,
    ),
]
To = Annotated[
    str, typer.Option("--to", metavar="SITE|STORE", help="Those that go there.", show_default=False)
]
Match = Annotated[
    str,
    typer.Option(
        "--match", metavar="GLOB", help="Those of datasets whose names match. Quote it.", show_default=False
    ),
]
Route = Annotated[
    str,
    typer.Option(
        "--route",
        metavar="ROUTE",
        help="Those of this route (as `route ls` shows it).",
        show_default=False,
    ),
]


def check(which: Sequence[str] | None, to: str, match: str, route: str) -> None:
    """Either ids or conditions, and never everything by oversight."""
    ids = [one for one in which or () if is_id(one)]
    conditions = bool(to or match or route or len(ids) < len(which or ()))
    if conditions == bool(ids):
        raise typer.BadParameter(
            "give either the ids of transfers; or names and globs of datasets, --to, --match and --route, "
            "which all have to hold ('**' means all)"
        )


def is_id(one: str) -> bool:
    """A name of that form can be given with --match."""
    return _ID.fullmatch(one) is not None


async def arguments(
    client: Librarian, which: Sequence[str] | None, to: str, match: str, route: str
) -> dict[str, Any]:
    """As the client's methods take them."""
    if which and is_id(which[0]):
        return {"transfer_ids": which}
    names = [one.rstrip("/") for one in which or ()]
    route_id = (await client.find_route(route)).route_id if route else ""
    return {"destination": to, "name_glob": match, "name_globs": names, "route_id": route_id}


def conclude(
    answer: transfer_pb2.RetryTransfersResponse
    | transfer_pb2.CancelTransfersResponse
    | transfer_pb2.PrioritizeTransfersResponse,
    output: Output,
    *,
    done: str,
    none: str,
) -> ExitCode:
    """Tells how many were changed and each refusal. `done` goes on after "3 transfers", `none` stands where
    there was nothing to change.
    """
    from librarian.cli.jsonform import message_value
    from librarian.cli.texts import counted
    from librarian.errors import Refused
    from librarian.messages import error_of

    refused = [verdict.error for verdict in answer.verdicts if verdict.HasField("error")]
    if output.as_json:
        output.value(message_value(answer))
    else:
        for error in refused:
            output.error(error_of(error))
        if answer.changed_count or not refused:
            count = counted(answer.changed_count, "transfer")
            output.line(f"{count} {done}" if answer.changed_count else none)
    if refused:
        raise Refused(
            f"{len(refused):,} of {len(answer.verdicts):,} were refused",
            remedy="the reason stands with each; `librarian transfer ls -l` shows how they are",
        )
    return ExitCode.DONE
