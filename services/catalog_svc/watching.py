"""The site's event log, page by page or as a stream that goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import CursorOfAnotherEpoch, DatasetNotFound, Unavailable
from librarian.names import printable
from svckit.auth import Caller, current_caller
from svckit.paging import page_size

from .columns import is_uid
from .context import Context
from .messages import fill_event
from .queries import log
from .queries.kit import Rows

# The bell is a hint; this is how late an event may be told without it.
POLL_SECONDS = 5.0
HEARTBEAT_SECONDS = 15.0
_BATCH = 500


async def list_events(context: Context, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
    """Raises CursorOfAnotherEpoch, DatasetNotFound."""
    check_dataset(request.dataset_uid)
    epoch, after = await start(context, request.after if request.HasField("after") else None)
    async with context.database.hot() as connection:
        rows = await log.read(connection, after, page_size(request.page_size), request.dataset_uid)
    response = pb.ListEventsResponse()
    response.next.epoch = epoch
    response.next.sequence = _fill(response.events, epoch, rows, current_caller()) or after
    return response


def check_dataset(uid: str) -> None:
    """Of a request about one dataset, or about all ("" then). Raises DatasetNotFound."""
    if uid and not is_uid(uid):
        shown = printable(uid)
        raise DatasetNotFound(f"no dataset has the uid {shown!r}", uid=shown)


async def watch_events(
    context: Context, request: pb.WatchEventsRequest
) -> AsyncIterator[pb.WatchEventsResponse]:
    """Events as they come, and a heartbeat where none do. Raises CursorOfAnotherEpoch; Unavailable when
    the service stops.
    """
    caller = current_caller()
    epoch, after = await start(context, request.after if request.HasField("after") else None)
    told = context.clock.monotonic()
    while not context.stopping.is_set():
        mark = context.appended.mark()
        async with context.database.hot() as connection:
            rows = await log.read(connection, after, _BATCH)
        if rows or context.clock.monotonic() - told >= HEARTBEAT_SECONDS:
            response = pb.WatchEventsResponse()
            after = _fill(response.events, epoch, rows, caller) or after
            response.next.epoch, response.next.sequence = epoch, after
            yield response
            told = context.clock.monotonic()
        else:
            await context.appended.wait(mark, POLL_SECONDS)
    raise Unavailable("the catalog is stopping", remedy="watch again from the last cursor received")


async def start(context: Context, cursor: pb.EventCursor | None) -> tuple[int, int]:
    """The current epoch, and the sequence to go on after. Raises CursorOfAnotherEpoch."""
    async with context.database.hot() as connection:
        epoch, last = await log.head(connection)
    if cursor is None:
        return epoch, 0
    # A cursor past the end was given out by a log that had more: it was restored since.
    if cursor.epoch != epoch or cursor.sequence > last:
        raise CursorOfAnotherEpoch(
            f"the cursor ({cursor.epoch}, {cursor.sequence}) is not of this log, which is in epoch {epoch}",
            epoch=epoch,
        )
    return epoch, cursor.sequence


def _fill(events: object, epoch: int, rows: Rows, caller: Caller) -> int:
    """Adds what the caller may see to the repeated field; the sequence of the last row, 0 for none."""
    for row in rows:
        if caller.may_see(row["name"]):
            fill_event(events.add(), epoch, row)  # type: ignore[attr-defined]
    return rows[-1]["sequence"] if rows else 0
