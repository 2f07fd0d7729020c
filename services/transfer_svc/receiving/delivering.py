"""Deliver, GetBatch and Withdraw: what becomes of a batch after its offer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from librarian.api.common.v1.common_pb2 import Signed
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import Withdrawn
from librarian.messages import timestamp
from librarian.names import printable
from svckit.auth import Caller
from transfer_svc import queries as ingest_queries
from transfer_svc import rules
from transfer_svc.context import Context
from transfer_svc.messages import error_from_json, error_to_json
from transfer_svc.querykit import Bare
from transfer_svc.receiving import queries
from transfer_svc.receiving.bringers import bringer_of, no_such_batch
from transfer_svc.receiving.judging import check_count
from transfer_svc.receiving.lifecycle import FINAL, DeliveryState
from transfer_svc.receiving.values import Delivery
from transfer_svc.waiting import Waiting, first_of

# A notification is a hint: the truth is looked at this often (s).
_LOOK_AGAIN = 5.0
_REASON_CHARACTERS = 500


async def deliver(context: Context, caller: Caller, request: pb.DeliverRequest) -> list[pb.Delivery]:
    """Hands these over to the workers. Raises BatchTooLarge, BatchNotFound."""
    uids = _checked(request.uids)
    batch = {"peer": bringer_of(caller).peer, "batch_id": _known_id(request.batch_id)}
    async with context.database.hot() as connection:
        if await queries.deliver(connection, **batch, uids=uids, now=context.clock.now()):
            context.faults.hit("deliver.handed_over")
            await ingest_queries.call_workers(connection, context.channels.work)
        found = await _read(connection, **batch, uids=uids)
    return in_order(request.uids, found)


async def withdraw(context: Context, caller: Caller, request: pb.WithdrawRequest) -> list[pb.Delivery]:
    """What was not delivered is given up. Raises BatchTooLarge, BatchNotFound."""
    uids = _checked(request.uids)
    batch = {"peer": bringer_of(caller).peer, "batch_id": _known_id(request.batch_id)}
    why = printable(request.reason)[:_REASON_CHARACTERS] or "no reason was given"
    error = error_to_json(Withdrawn(f"the sender gave it up: {why}"))
    async with context.database.hot() as connection:
        if await queries.withdraw(connection, **batch, uids=uids, error_json=error, now=context.clock.now()):
            context.faults.hit("withdraw.written")
            await ingest_queries.call_workers(connection, context.channels.work)
        found = await _read(connection, **batch, uids=uids)
    return in_order(request.uids, found)


async def get_batch(
    context: Context, waiting: Waiting, stopping: asyncio.Event, caller: Caller, request: pb.GetBatchRequest
) -> list[pb.Delivery]:
    """Those asked about, or all, once one of them has ended (or is not of this batch), or when the time is
    over. Raises BatchTooLarge, BatchNotFound.
    """
    uids = _checked(request.uids)
    batch = {"peer": bringer_of(caller).peer, "batch_id": _known_id(request.batch_id)}
    end = context.clock.monotonic() + rules.wait_seconds(request.timeout_ms)
    with waiting.watching([batch["batch_id"]]) as told:
        while True:
            told.clear()
            async with context.database.hot() as connection:
                found = await _read(connection, **batch, uids=uids)
            left = end - context.clock.monotonic()
            done = len(found) < len(uids) or not found or any(each.state in FINAL for each in found.values())
            if done or left <= 0 or stopping.is_set():
                return in_order(request.uids or found, found)
            await first_of(told, stopping, seconds=min(left, _LOOK_AGAIN))


def _checked(uids: Sequence[str]) -> Collection[str]:
    """Those that can be looked up, each once. Raises BatchTooLarge."""
    check_count(len(uids))
    return list(dict.fromkeys(uid for uid in uids if rules.can_be_id(uid)))


def _known_id(batch_id: str) -> str:
    """Raises BatchNotFound."""
    if not rules.can_be_id(batch_id):
        raise no_such_batch(batch_id)
    return batch_id


async def _read(connection: Bare, *, peer: str, batch_id: str, uids: Collection[str]) -> dict[str, Delivery]:
    """Raises BatchNotFound."""
    found = await queries.fetch_batch(connection, peer=peer, batch_id=batch_id, uids=uids)
    if not found and not await queries.knows_batch(connection, peer, batch_id):
        raise no_such_batch(batch_id)
    return {each.uid: each for each in found}


def in_order(uids: Iterable[str], found: dict[str, Delivery]) -> list[pb.Delivery]:
    """One for each uid; one that the batch does not have is UNSPECIFIED."""
    return [to_proto(found[uid]) if uid in found else pb.Delivery(uid=uid) for uid in uids]


def to_proto(delivery: Delivery) -> pb.Delivery:
    state = DeliveryState(delivery.state)
    message = pb.Delivery(
        uid=delivery.uid,
        state=pb.DeliveryState.ValueType(state),
        upload_id=delivery.upload_id,
        verified_bytes=delivery.verified_bytes,
        # Of one that goes on, what its ingest met last.
        error=error_from_json(delivery.error_json if state in FINAL else delivery.trouble_json),
        update_time=timestamp(delivery.update_time),
    )
    if delivery.receipt is not None:
        message.receipt.CopyFrom(Signed.FromString(delivery.receipt))
    return message
