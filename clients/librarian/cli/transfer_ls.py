"""librarian transfer ls: what is on its way, and what was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librarian.cli import options, transfer_choice
from librarian.cli.output import Column, Output

if TYPE_CHECKING:
    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.client import Librarian

PAGE_ROWS = 500


def command(
    *,
    to: transfer_choice.To = "",
    state: Annotated[
        list[str],
        typer.Option(
            metavar="STATE",
            help="In this state (queued, moving, held, ...); may be given more than once.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer takes defaults as they are
    match: transfer_choice.Match = "",
    route: transfer_choice.Route = "",
    incoming: Annotated[
        bool, typer.Option("--incoming", help="What other sites bring here, instead.")
    ] = False,
    peer: Annotated[
        str, typer.Option("--from", metavar="SITE", help="With --incoming: from there.", show_default=False)
    ] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="The transfers' ids, too.")] = False,
    limit: options.Limit = None,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """List transfers, newest first: sent from here, or with --incoming brought here."""
    from librarian.cli.run import run

    if incoming and (to or route):
        raise typer.BadParameter("--to and --route are of what is sent; --incoming takes --from SITE")
    if peer and not incoming:
        raise typer.BadParameter("--from is of --incoming; what is sent has --to")
    states = _states(state, incoming=incoming)

    async def body(client: Librarian, output: Output) -> None:
        from librarian.cli import transfer_rows as rows

        if incoming:
            deliveries = _matching(client.deliveries(states, peer=peer), match, limit)
            await _print(deliveries, rows.delivery_row, rows.DELIVERY_COLUMNS, rows.DELIVERY_WIDTHS, output)
            return
        route_id = (await client.find_route(route)).route_id if route else ""
        sent = client.transfers(states, destination=to, name_glob=match, route_id=route_id, limit=limit)

        def row(transfer: transfer_pb2.Transfer) -> list[str]:
            return rows.transfer_row(transfer, long=long)

        more = "; `librarian transfer show NAME` tells all of one"
        await _print(sent, row, rows.TRANSFER_COLUMNS, rows.TRANSFER_WIDTHS, output, more)

    run(body, site=site, as_json=as_json)


def _states(names: Sequence[str], *, incoming: bool) -> list[Any]:
    """As the protos number them."""
    from librarian.api.federation.v1 import federation_pb2
    from librarian.api.transfer.v1 import transfer_pb2

    kind: Any = federation_pb2.DeliveryState if incoming else transfer_pb2.TransferState
    prefix = "DELIVERY_STATE_" if incoming else "TRANSFER_STATE_"
    known = {name.removeprefix(prefix).lower(): number for name, number in kind.items() if number}
    for name in names:
        if name.lower() not in known:
            raise typer.BadParameter(f"--state: {name!r} is none of {', '.join(known)}")
    return [known[name.lower()] for name in names]


async def _matching(deliveries: AsyncIterator[Any], glob: str, limit: int | None) -> AsyncIterator[Any]:
    """The service does not choose deliveries by name."""
    from librarian.globs import compile_glob

    pattern = compile_glob(glob) if glob else None
    count = 0
    async for delivery in deliveries:
        if count == limit:
            return
        if pattern is None or pattern.matches(delivery.name):
            count += 1
            yield delivery


async def _print(
    items: AsyncIterator[Any],
    row: Callable[[Any], list[str]],
    columns: Sequence[Column],
    widths: Sequence[int],
    output: Output,
    more: str = "",
) -> None:
    """Page by page: a listing of a hundred thousand starts at once."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.output import table_lines
    from librarian.cli.texts import counted

    if output.as_json:
        array = output.array()
        async for item in items:
            array.add(message_value(item))
        array.end()
        return
    count = 0
    page: list[list[str]] = []

    def flush() -> None:
        title, *lines = table_lines(columns, page, widths=widths)
        if count <= PAGE_ROWS:
            output.line(output.bold(title))
        for line in lines:
            output.line(line)
        page.clear()

    async for item in items:
        count += 1
        page.append(row(item))
        if len(page) == PAGE_ROWS:
            flush()
    if page:
        flush()
    output.note(f"{counted(count, 'transfer')}{more}" if count else "no transfers")
