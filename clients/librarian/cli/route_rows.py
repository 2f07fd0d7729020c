"""Routes as lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.output import Column, Output
from librarian.cli.texts import count_text, rate_text
from librarian.names import printable

SHORTEST_ID = 8


def print_routes(
    routes: Sequence[transfer_pb2.Route], output: Output, *, among: Sequence[transfer_pb2.Route] = ()
) -> None:
    """`among`: those whose ids the shortened ones must tell apart."""
    columns = [
        Column("ROUTE"),
        Column("TO"),
        Column("VIA"),
        Column("PRIORITY", right=True),
        Column("AT ONCE", right=True),
        Column("LIMIT", right=True),
        Column("STATE"),
        Column("LANDING"),
        Column("MATCH"),
    ]
    length = id_length(route.route_id for route in among or routes)
    output.table(columns, [_row(route, length) for route in routes])


def _row(route: transfer_pb2.Route, length: int) -> list[str]:
    return [
        route.route_id[:length],
        destination_text(route),
        via_text(route),
        str(route.priority),
        count_text(route.max_active) if route.max_active else "usual",
        rate_text(route.max_bytes_per_second) if route.max_bytes_per_second else "none",
        state_text(route),
        printable(route.landing),
        match_text(route),
    ]


def id_length(ids: Iterable[str]) -> int:
    """Characters that tell these ids apart, at least 8."""
    known = set(ids)
    longest = max(map(len, known), default=SHORTEST_ID)
    length = SHORTEST_ID
    while length < longest and len({one[:length] for one in known}) < len(known):
        length += 1
    return length


def destination_text(route: transfer_pb2.Route) -> str:
    """A store of this site is told from a peer."""
    store = route.destination_kind == transfer_pb2.DESTINATION_KIND_STORE
    return f"{route.destination} (store)" if store else route.destination


def via_text(route: transfer_pb2.Route) -> str:
    return f"{route.via} through {route.through}" if route.through else route.via


def match_text(route: transfer_pb2.Route) -> str:
    """`satp3/**  kind=science`."""
    tags = [f"{printable(key)}={printable(value)}" for key, value in sorted(route.tags.items())]
    return "  ".join([printable(route.name_glob) or "**", *tags])


def state_text(route: transfer_pb2.Route) -> str:
    """`open`, `paused`, with how far the older datasets have been looked at."""
    state = "paused" if route.paused else "open"
    count = count_text(route.backfilled_count)
    if route.backfill_state == transfer_pb2.BACKFILL_STATE_RUNNING:
        return f"{state}, backfilling ({count})"
    if route.backfill_state == transfer_pb2.BACKFILL_STATE_DONE:
        return f"{state}, backfilled ({count})"
    return state


def told_route(route: transfer_pb2.Route) -> str:
    """One route in a sentence."""
    return f"{match_text(route)} to {route.destination} by {via_text(route)}"
