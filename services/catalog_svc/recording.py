"""Receipts of other sites: recorded once each, listed in the order they came.

The rows are written under the event counter's row lock, which also keeps two who bring the same receipt
apart: nothing is waited for there, and it takes a few statements however many receipts there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge, DatasetNotFound, LibrarianError
from librarian.messages import item_error
from svckit.auth import current_caller
from svckit.paging import page_size

from .context import Context
from .messages import fill_receipt
from .queries import log
from .queries import receipts as queries
from .queries.kit import Bare
from .receipts import MAX_RECEIPTS, Content, Receipt, check_content, read_receipt
from .watching import begin, check_dataset


async def record_receipts(context: Context, request: pb.RecordReceiptsRequest) -> pb.RecordReceiptsResponse:
    """Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    if len(request.receipts) > MAX_RECEIPTS:
        raise BatchTooLarge(
            f"{len(request.receipts)} receipts are more than one batch may have",
            remedy=f"send at most {MAX_RECEIPTS} in a batch",
            limit=MAX_RECEIPTS,
        )

    async def action(connection: Bare) -> pb.RecordReceiptsResponse:
        found, refused = _read(request)
        uids = [receipt.word.uid for receipt in found.values()]
        known = await queries.contents(connection, uids) if uids else {}
        good = _fitting(found, known, refused)
        recorded = await _record(context, connection, good) if good else 0
        response = pb.RecordReceiptsResponse(recorded_count=recorded)
        for index in sorted(refused):
            response.verdicts.add(index=index, error=item_error(refused[index]))
        return response

    response = await context.once(
        "RecordReceipts", request.request_id, request, pb.RecordReceiptsResponse, action
    )
    context.faults.hit("catalog.receipts_recorded")
    return response


async def list_receipts(context: Context, request: pb.ListReceiptsRequest) -> pb.ListReceiptsResponse:
    """Raises CursorOfAnotherEpoch, DatasetNotFound."""
    check_dataset(request.dataset_uid)
    place = await begin(context, request.after if request.HasField("after") else None)
    limit = page_size(request.page_size)
    async with context.database.hot() as connection:
        # Before the reading: what is recorded meanwhile lies after it.
        end = await log.head(connection)
        rows = await queries.read(connection, place.sequence, limit, request.dataset_uid)
    caller, response = current_caller(), pb.ListReceiptsResponse()
    for row in rows:
        if caller.may_see(row["name"]):
            fill_receipt(response.receipts.add(), row)
    last = rows[-1]["sequence"] if rows else place.sequence
    if len(rows) < limit and last <= end.sequence:
        response.next.sequence, response.next.time_us = end.sequence, end.time_us
    elif rows:
        response.next.sequence = last
    else:
        response.next.CopyFrom(place)
    response.next.epoch = place.epoch
    return response


def _read(request: pb.RecordReceiptsRequest) -> tuple[dict[int, Receipt], dict[int, LibrarianError]]:
    """The receipts that can be kept, and why the others cannot, by position."""
    found: dict[int, Receipt] = {}
    refused: dict[int, LibrarianError] = {}
    for index, record in enumerate(request.receipts):
        try:
            found[index] = read_receipt(record)
        except LibrarianError as error:
            refused[index] = error
    return found, refused


def _fitting(
    found: Mapping[int, Receipt], known: Mapping[str, Content], refused: dict[int, LibrarianError]
) -> list[Receipt]:
    """Those about datasets as they are here, each once; the others go to `refused`."""
    good: dict[bytes, Receipt] = {}
    for index, receipt in found.items():
        uid = receipt.word.uid
        try:
            if uid not in known:
                raise DatasetNotFound(f"no dataset has the uid {uid}", uid=uid)
            check_content(receipt, known[uid])
            good.setdefault(receipt.digest, receipt)
        except LibrarianError as error:
            refused[index] = error
    return list(good.values())


async def _record(context: Context, connection: Bare, receipts: list[Receipt]) -> int:
    """How many were new."""
    await log.lock(connection)
    known = await queries.known(connection, [receipt.digest for receipt in receipts])
    new = [receipt for receipt in receipts if receipt.digest not in known]
    if new:
        await queries.record(connection, new, context.site, context.now_us())
    return len(new)
