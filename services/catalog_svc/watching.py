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
    start = await begin(context, request.after if request.HasField("after") else None)
    async with context.database.hot() as connection:
        rows = await log.read(connection, start.sequence, page_size(request.page_size), request.dataset_uid)
    response = pb.ListEventsResponse()
    response.next.CopyFrom(_fill(response.events, start, rows, current_caller()))
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
    place = await begin(context, request.after if request.HasField("after") else None)
    told = context.clock.monotonic()
    while not context.stopping.is_set():
        mark = context.appended.mark()
        async with context.database.hot() as connection:
            rows = await log.read(connection, place.sequence, _BATCH)
        if rows or context.clock.monotonic() - told >= HEARTBEAT_SECONDS:
            response = pb.WatchEventsResponse()
            place = _fill(response.events, place, rows, caller)
            response.next.CopyFrom(place)
            yield response
            told = context.clock.monotonic()
        else:
            await context.appended.wait(mark, POLL_SECONDS)
    raise Unavailable("the catalog is stopping", remedy="watch again from the last cursor received")


async def begin(context: Context, cursor: pb.EventCursor | None) -> pb.EventCursor:
    """Where to read on, in the current epoch. Raises CursorOfAnotherEpoch."""
    wanted = cursor or pb.EventCursor()
    async with context.database.hot() as connection:
        head = await log.head(connection, max(wanted.sequence, 0))
    if cursor is None:
        return pb.EventCursor(epoch=head.epoch)
    # A cursor past the end was given out by a log that had more: it was restored since. So it was where it
    # has grown again and another event stands there.
    other = bool(cursor.time_us) and cursor.time_us != head.then_us
    if cursor.epoch != head.epoch or cursor.sequence > head.sequence or other:
        raise CursorOfAnotherEpoch(
            f"the cursor ({cursor.epoch}, {cursor.sequence}) is not of this log, which is in epoch "
            f"{head.epoch}",
            epoch=head.epoch,
        )
    return cursor


def _fill(events: object, place: pb.EventCursor, rows: Rows, caller: Caller) -> pb.EventCursor:
    """Adds what the caller may see to the repeated field; where the last row stands, or `place`."""
    for row in rows:
        if caller.may_see(row["name"]):
            fill_event(events.add(), place.epoch, row)  # type: ignore[attr-defined]
    if not rows:
        return place
    return pb.EventCursor(epoch=place.epoch, sequence=rows[-1]["sequence"], time_us=rows[-1]["time_us"])
