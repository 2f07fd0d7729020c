"""One batch from wherever it stands to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from librarian.api.federation.v1 import federation_pb2
from librarian.errors import BatchNotFound
from transfer_svc.movers.base import Mover
from transfer_svc.sending import batch_queries
from transfer_svc.sending.confirming import ask, confirm
from transfer_svc.sending.desk import Desk
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.link import Link
from transfer_svc.sending.moving import Moving
from transfer_svc.sending.offering import offer
from transfer_svc.sending.roster import Roster

_S = TransferState
# Offers in a row after which nothing had moved come no faster than this (s).
_PAUSE: Final = 1.0


async def carry(desk: Desk, roster: Roster, link: Link, mover: Mover, *, resumed: bool) -> None:
    """Two things go on side by side: bringing what is to be brought, and waiting for receipts of what is
    there. The receiver is asked first where another worker, or this one before it died, had begun.
    """
    if resumed:
        _remember_offer(desk)
        if desk.parcels and desk.batch.offer is not None:
            await ask(desk, roster, link, list(desk.parcels.values()))
        desk.context.faults.hit("send.caught_up")
    async with asyncio.TaskGroup() as both:
        both.create_task(_bring(desk, roster, link, mover))
        both.create_task(confirm(desk, roster, link))
    await _withdraw(desk, link)
    if not desk.is_lost:
        async with desk.context.database.hot() as connection:
            await batch_queries.finish(connection, desk.batch)
        desk.context.faults.hit("send.batch_finished")


async def _bring(desk: Desk, roster: Roster, link: Link, mover: Mover) -> None:
    """Until nothing of the batch is under way: the receiver may forget what was brought long ago."""
    told_moving = True
    offered_at = -_PAUSE
    while desk.parcels:
        mark = desk.changed.mark()
        moving = bool(_to_offer(desk) or desk.in_state(_S.MOVING))
        if moving != told_moving:
            told_moving = moving
            async with desk.context.database.hot() as connection:
                await batch_queries.set_moving(connection, desk.batch, moving=moving)
        if desk.recheck:
            await desk.look_again()
        await _withdraw(desk, link)
        if not moving:
            await desk.changed.wait(mark, desk.means.poll_seconds)
            continue
        if not roster.may_send(desk.batch.route_id):
            await roster.changed.wait(roster.changed.mark(), desk.means.poll_seconds)
            continue
        if _to_offer(desk):
            now = desk.context.clock.monotonic()
            await asyncio.sleep(max(0.0, offered_at + _PAUSE - now))
            offered_at = desk.context.clock.monotonic()
            await offer(desk, roster, link)
        await Moving(desk, roster, link, mover, roster.routes[desk.batch.route_id]).run()


def _to_offer(desk: Desk) -> bool:
    return bool(
        desk.forgotten & desk.parcels.keys()
        or desk.in_state(_S.OFFERED)
        or any(parcel.landing < 0 for parcel in desk.in_state(_S.MOVING))
    )


def _remember_offer(desk: Desk) -> None:
    """What receipts are compared with."""
    if desk.batch.offer is not None:
        request = federation_pb2.OfferRequest.FromString(desk.batch.offer)
        desk.items = {item.uid: item for item in request.items}


async def _withdraw(desk: Desk, link: Link) -> None:
    """What is cancelled or held here is given up there, too: nothing stays reserved for it."""
    if not desk.withdrawn:
        return
    uids = sorted(desk.withdrawn)
    request = federation_pb2.WithdrawRequest(
        batch_id=desk.batch.batch_id, uids=uids, reason="the sender cancelled it, or cannot send it"
    )
    with suppress(BatchNotFound):
        await link.call("Withdraw", request)
    desk.withdrawn.difference_update(uids)
    desk.context.faults.hit("send.withdrawn")
