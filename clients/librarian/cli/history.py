"""librarian history: a dataset's life, from its birth to the receipts of other sites."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from librarian.cli import options
from librarian.cli.output import Column, Output

if TYPE_CHECKING:
    from datetime import datetime

    from librarian.api.catalog.v1 import catalog_pb2
    from librarian.client import Librarian


def command(name: options.Name, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Tell a dataset's life, from its birth to every receipt."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        events = [event async for event in client.history(name.rstrip("/"))]
        if output.as_json:
            output.value([message_value(event) for event in events])
            return
        columns = [Column("TIME"), Column("EVENT"), Column("WHERE"), Column("DETAILS")]
        output.table(columns, [_row(event) for event in events])

    run(body, site=site, as_json=as_json)


def _row(event: catalog_pb2.Event) -> list[str]:
    from librarian.messages import datetime_of

    moment = _moment(datetime_of(event.time))
    where = event.store or _elsewhere(event.details_json)
    return [moment, event.type.replace("_", " ").lower(), where, _details(event.details_json)]


def _moment(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _read(details_json: str) -> dict[str, Any] | None:
    try:
        details = json.loads(details_json or "{}")
    except ValueError:
        return None
    return details if isinstance(details, dict) else None


def _elsewhere(details_json: str) -> str:
    """`nersc`, `nersc:tape`: the site that an event is about, where that is told."""
    from librarian.names import printable

    details = _read(details_json) or {}
    return ":".join(printable(str(details[key])) for key in ("site", "store") if details.get(key))


def _details(details_json: str) -> str:
    """Without what `_elsewhere` tells."""
    from librarian.messages import datetime_of, timestamp_of_microseconds
    from librarian.names import printable

    details = _read(details_json)
    if details is None:
        return details_json
    if details.pop("site", ""):
        details.pop("store", "")
    if "verify_time_us" in details:
        verified = timestamp_of_microseconds(details.pop("verify_time_us"))
        details["verified"] = _moment(datetime_of(verified))
    if key := details.pop("key_id", ""):
        details["signed_by_key"] = key
    if held := details.pop("held_uid", ""):
        details["held_as"] = held
    before, after = details.pop("previous_state", ""), details.pop("state", "")
    reason = details.pop("reason", "")
    parts = [f"{before} -> {after}".lower() if before else str(after).lower(), str(reason)]
    parts += [
        f"{key.replace('_', ' ')} {printable(value) if isinstance(value, str) else json.dumps(value)}"
        for key, value in details.items()
        if value not in ("", None, [], {})
    ]
    return ", ".join(part for part in parts if part)
