"""librarian history: what happened to one dataset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from librarian.cli import options
from librarian.cli.output import Column, Output

if TYPE_CHECKING:
    from librarian.api.catalog.v1 import catalog_pb2
    from librarian.client import Librarian


def command(name: options.Name, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Tell what happened to a dataset."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        events = [event async for event in client.history(name.rstrip("/"))]
        if output.as_json:
            output.value([message_value(event) for event in events])
            return
        columns = [Column("TIME"), Column("EVENT"), Column("STORE"), Column("DETAILS")]
        output.table(columns, [_row(event) for event in events])

    run(body, site=site, as_json=as_json)


def _row(event: catalog_pb2.Event) -> list[str]:
    from librarian.messages import datetime_of

    moment = datetime_of(event.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return [moment, event.type.replace("_", " ").lower(), event.store, _details(event.details_json)]


def _details(details_json: str) -> str:
    try:
        details = json.loads(details_json or "{}")
    except ValueError:
        return details_json
    if not isinstance(details, dict):
        return details_json
    before, after = details.pop("previous_state", ""), details.pop("state", "")
    reason = details.pop("reason", "")
    parts = [f"{before} -> {after}".lower() if before else str(after).lower(), str(reason)]
    parts += [
        f"{key.replace('_', ' ')} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in details.items()
        if value not in ("", None, [], {})
    ]
    return ", ".join(part for part in parts if part)
