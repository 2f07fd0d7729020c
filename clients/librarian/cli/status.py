"""librarian status: how the site is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from librarian.cli import options
from librarian.cli.output import Column, Output, Verdict

if TYPE_CHECKING:
    from librarian.api.catalog.v1 import catalog_pb2
    from librarian.api.gateway.v1 import gateway_pb2
    from librarian.api.store.v1 import store_pb2
    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.client import Librarian
    from librarian.errors import LibrarianError

SHOWN_INGESTS = 10
# Enough to count what is open at a busy site; more is told as "at least".
COUNTED_INGESTS = 1000


def command(*, site: options.Site = "", as_json: options.Json = False) -> None:
    """Tell how services, stores, open ingests, peers and transfers are."""
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        found = await _look(client)
        if output.as_json:
            output.value(_value(found))
        else:
            _print(found, client, output)

    run(body, site=site, as_json=as_json)


@dataclass(slots=True)
class _Found:
    """`troubles`: what could not be asked, by what it is; the rest is told nonetheless."""

    site: gateway_pb2.GetSiteResponse
    stores: list[store_pb2.Store] = field(default_factory=list)
    ingests: list[transfer_pb2.Ingest] = field(default_factory=list)
    summary: catalog_pb2.GetSummaryResponse | None = None
    peers: list[gateway_pb2.Peer] = field(default_factory=list)
    flow: transfer_pb2.GetTransferStatusResponse | None = None
    troubles: dict[str, LibrarianError] = field(default_factory=dict)


async def _look(client: Librarian) -> _Found:
    from librarian.api.transfer.v1 import transfer_pb2

    found = _Found(await client.status())
    open_states = [
        transfer_pb2.INGEST_STATE_OPEN,
        transfer_pb2.INGEST_STATE_COMMITTING,
        transfer_pb2.INGEST_STATE_STORED,
    ]
    async with _unless(found, "stores"):
        found.stores = await client.stores()
    async with _unless(found, "summary"):
        found.summary = await client.summary()
    async with _unless(found, "ingests"):
        found.ingests = [one async for one in client.ingests(open_states, limit=COUNTED_INGESTS)]
    async with _unless(found, "peers"):
        found.peers = await client.peers()
    async with _unless(found, "transfers"):
        found.flow = await client.transfer_status()
    return found


@asynccontextmanager
async def _unless(found: _Found, what: str) -> AsyncIterator[None]:
    """Keeps a trouble as one of `what`. An older site that cannot be asked has nothing to tell of it."""
    from librarian.errors import LibrarianError, Unimplemented

    try:
        yield
    except Unimplemented:
        pass
    except LibrarianError as error:
        found.troubles[what] = error


def _value(found: _Found) -> dict[str, Any]:
    from librarian.cli.exits import error_value
    from librarian.cli.jsonform import message_value

    return {
        **message_value(found.site),
        "stores": [message_value(store) for store in found.stores],
        "summary": message_value(found.summary) if found.summary is not None else None,
        "open_ingests": [message_value(ingest) for ingest in found.ingests],
        "peers": [message_value(peer) for peer in found.peers],
        "transfers": message_value(found.flow) if found.flow is not None else None,
        "troubles": {what: error_value(error) for what, error in found.troubles.items()},
    }


def _print(found: _Found, client: Librarian, output: Output) -> None:
    from librarian.api.gateway.v1 import gateway_pb2
    from librarian.cli.status_flow import print_flow
    from librarian.cli.store_ls import print_stores
    from librarian.cli.texts import counted, label, size_text
    from librarian.names import printable

    site = found.site
    role = label(gateway_pb2.Role.Name(site.caller.role), "ROLE_")
    output.line(
        f"{output.bold(site.site)} at {client.settings.address.text}, librarian {site.version}; "
        f"you are {printable(site.caller.subject)}, {role}"
    )
    _print_services(site, output)
    output.line()
    if "stores" not in found.troubles:
        print_stores(found.stores, output)
        output.line()
    if found.summary is not None:
        output.line(
            f"{counted(found.summary.dataset_count, 'dataset')}, {size_text(found.summary.size_bytes)}"
        )
    if "ingests" not in found.troubles:
        _print_ingests(found.ingests, output)
    print_flow(found.peers, found.flow, datetime.now(UTC), output)
    for what, error in found.troubles.items():
        error.message = f"{what}: {error.message}"
        output.error(error)


def _print_services(site: gateway_pb2.GetSiteResponse, output: Output) -> None:
    up = [service.service for service in site.services if service.serving]
    if up:
        output.line(f"  {output.judged('up', Verdict.GOOD)}    {', '.join(up)}")
    for service in site.services:
        if not service.serving:
            why = f": {service.detail}" if service.detail else ""
            output.line(f"  {output.judged('down', Verdict.BAD)}  {service.service}{why}")


def _print_ingests(ingests: list[transfer_pb2.Ingest], output: Output) -> None:
    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.cli.texts import counted, label, size_text, time_text
    from librarian.messages import datetime_of
    from librarian.names import printable

    if not ingests:
        output.line("no open ingests")
        return
    troubled = [ingest for ingest in ingests if ingest.HasField("error")]
    least = "at least " if len(ingests) == COUNTED_INGESTS else ""
    with_trouble = f", {output.judged(f'{len(troubled)} with trouble', Verdict.BAD)}" if troubled else ""
    output.line(f"{least}{counted(len(ingests), 'open ingest')}{with_trouble}")
    shown = (troubled or ingests)[:SHOWN_INGESTS]
    rows = [
        [
            label(transfer_pb2.IngestState.Name(ingest.state), "INGEST_STATE_"),
            time_text(datetime_of(ingest.begin_time)),
            size_text(ingest.size_bytes),
            ingest.store,
            printable(ingest.name),
        ]
        for ingest in shown
    ]
    columns = [Column("STATE"), Column("BEGUN"), Column("SIZE", right=True), Column("STORE"), Column("NAME")]
    output.table(columns, rows)
    for ingest in troubled[:SHOWN_INGESTS]:
        output.line(f"  {printable(ingest.name)}: {ingest.error.message}")
