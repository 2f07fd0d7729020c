"""What the receiver says of a batch: its answers reconciled, its receipts checked and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1.common_pb2 import Receipt, Signed
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import BatchNotFound, InternalError, LibrarianError, ReceiptMismatch, Withdrawn
from librarian.messages import error_of
from svckit.statements import KeyRing, verify_receipt
from transfer_svc.receiving.lifecycle import DeliveryState
from transfer_svc.sending.desk import Desk
from transfer_svc.sending.lifecycle import TransferEvent, TransferState
from transfer_svc.sending.link import Link
from transfer_svc.sending.patience import patiently
from transfer_svc.sending.reconciling import Decision, reconcile
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.values import Destination, Parcel

POLL_MS: Final = 20_000
# Receipts come one by one; asking again at once would tell of each alone.
_GATHER_SECONDS: Final = 0.2
_S = TransferState


async def ask(desk: Desk, roster: Roster, link: Link, parcels: Sequence[Parcel], timeout_ms: int = 0) -> None:
    """Asks how these stand and does what follows."""
    request = pb.GetBatchRequest(
        batch_id=desk.batch.batch_id,
        uids=[parcel.dataset_uid for parcel in parcels],
        timeout_ms=timeout_ms,
    )
    try:
        response = await link.call("GetBatch", request, seconds=30.0 + timeout_ms / 1000)
    except BatchNotFound:
        response = pb.GetBatchResponse()
    desk.context.faults.hit("send.batch_answered")
    answers = {delivery.uid: delivery for delivery in response.deliveries}
    # In the meantime some may have ended by another's hand.
    still = [parcel for parcel in parcels if parcel.dataset_uid in desk.parcels]
    await settle(desk, roster, link, still, answers)


async def confirm(desk: Desk, roster: Roster, link: Link) -> None:
    """Until nothing of the batch is under way: waits for receipts of what is delivered."""
    while desk.parcels:
        mark = desk.changed.mark()
        waiting = [
            parcel for parcel in desk.in_state(_S.DELIVERED) if parcel.dataset_uid not in desk.forgotten
        ]
        if not waiting:
            await desk.changed.wait(mark, desk.means.poll_seconds)
            continue
        before = len(desk.parcels)
        await ask(desk, roster, link, waiting, POLL_MS)
        if desk.parcels and len(desk.parcels) <= before:
            await asyncio.sleep(_GATHER_SECONDS)


async def deliver(desk: Desk, roster: Roster, link: Link, parcels: Sequence[Parcel]) -> None:
    """Tells the receiver that all bytes of these are there."""
    request = pb.DeliverRequest(batch_id=desk.batch.batch_id, uids=[parcel.dataset_uid for parcel in parcels])
    try:
        response = await link.call("Deliver", request)
    except BatchNotFound:
        response = pb.DeliverResponse()
    desk.context.faults.hit("send.deliver_answered")
    answers = {delivery.uid: delivery for delivery in response.deliveries}
    untaken = []
    for parcel in parcels:
        state = _state(answers.get(parcel.dataset_uid))
        if state in {DeliveryState.ACCEPTED, DeliveryState.ARRIVING}:
            untaken.append(parcel)
            del answers[parcel.dataset_uid]
    taken = [parcel for parcel in parcels if parcel not in untaken and parcel.dataset_uid in desk.parcels]
    await settle(desk, roster, link, taken, answers)
    error = Withdrawn("the receiver did not take the bytes")
    await desk.troubled([(parcel, error) for parcel in untaken if parcel.dataset_uid in desk.parcels])
    desk.context.faults.hit("send.delivered_written")


async def settle(
    desk: Desk, roster: Roster, link: Link, parcels: Sequence[Parcel], answers: Mapping[str, pb.Delivery]
) -> None:
    """Each parcel as this side's state and the receiver's say together; no answer: it knows nothing of it."""
    receipts, failed, confirmed, undelivered = [], [], [], []
    for parcel in parcels:
        answer = answers.get(parcel.dataset_uid)
        match reconcile(_S(parcel.state), _state(answer)):
            case Decision.OFFER:
                desk.forgotten.add(parcel.dataset_uid)
            case Decision.TAKE:
                assert answer is not None
                receipts.append((parcel, answer.receipt))
            case Decision.MEND:
                assert answer is not None
                failed.append((parcel, _error(answer)))
            case Decision.AGAIN:
                assert answer is not None
                failed.append((parcel, _error(answer, Withdrawn("the receiver gave it up for want of news"))))
            case Decision.CONFIRM:
                confirmed.append(parcel)
            case Decision.DELIVER:
                undelivered.append(parcel)
            case Decision.MOVE | Decision.WAIT | Decision.LEAVE | Decision.WITHDRAW:
                pass
    await desk.delivered(confirmed)
    await desk.troubled(failed)
    await take_receipts(desk, roster, receipts)
    if undelivered:
        await deliver(desk, roster, link, undelivered)
    desk.changed.ring()


async def take_receipts(desk: Desk, roster: Roster, given: Sequence[tuple[Parcel, Signed]]) -> None:
    """Checks receipts, records them in the catalogue, and ends their transfers. One that does not prove what
    it should is refused; its transfer stays, and is put off.
    """
    if not given:
        return
    to = desk.batch.to
    checked = await asyncio.to_thread(_check_all, given, desk.items, roster.keys_of(to), to, roster.site)
    good = [(parcel, signed) for (parcel, signed), error in zip(given, checked, strict=True) if error is None]
    bad = [(parcel, error) for (parcel, _), error in zip(given, checked, strict=True) if error is not None]
    for parcel, error in bad:
        desk.context.logger.warning(
            "receipt_refused",
            destination=str(to),
            uid=parcel.dataset_uid,
            reason=error.reason,
            message=error.message,
        )
    await desk.troubled(bad)
    if to.is_peer and good:
        good = await _recorded(desk, good)
    desk.context.faults.hit("send.receipts_recorded")
    found = [parcel for parcel, _ in good if parcel.state == _S.OFFERED]
    verified = [parcel for parcel, _ in good if parcel.state != _S.OFFERED]
    await desk.end(found, TransferEvent.FIND, f"{to} has it already")
    await desk.end(verified, TransferEvent.VERIFY, f"the receipt of {to} is recorded")
    desk.context.faults.hit("send.verified_written")


async def _recorded(desk: Desk, good: list[tuple[Parcel, Signed]]) -> list[tuple[Parcel, Signed]]:
    request = catalog_pb2.RecordReceiptsRequest(
        request_id=desk.context.ids.new_uid(),
        receipts=[
            catalog_pb2.ReceiptRecord(receipt=signed, via_site=desk.batch.destination) for _, signed in good
        ],
    )
    response = await patiently(desk.means, lambda: desk.context.catalog.RecordReceipts(request))
    refused = {verdict.index: error_of(verdict.error) for verdict in response.verdicts}
    await desk.troubled([(good[index][0], error) for index, error in refused.items()])
    return [each for index, each in enumerate(good) if index not in refused]


def _check_all(
    given: Sequence[tuple[Parcel, Signed]],
    items: Mapping[str, pb.OfferItem],
    keys: KeyRing,
    to: Destination,
    site: str,
) -> list[LibrarianError | None]:
    """Signatures cost a tenth of a millisecond each: off the event loop."""
    found: list[LibrarianError | None] = []
    for parcel, signed in given:
        try:
            receipt = verify_receipt(signed, keys)
            _check(receipt, items.get(parcel.dataset_uid), to, site)
        except LibrarianError as error:
            found.append(error)
        else:
            found.append(None)
    return found


def _check(receipt: Receipt, item: pb.OfferItem | None, to: Destination, site: str) -> None:
    if item is None:
        raise ReceiptMismatch("a receipt for something that was never offered")
    said = (receipt.uid, receipt.kind, receipt.digest.algorithm, receipt.digest.value)
    if said != (item.uid, item.kind, item.digest.algorithm, item.digest.value):
        raise ReceiptMismatch(f"the receipt is not about {item.name} as it was offered", uid=item.uid)
    if receipt.site != (to.name if to.is_peer else site):
        raise ReceiptMismatch(f"the receipt is of {receipt.site[:80]}, not of {to}", uid=item.uid)
    if not to.is_peer and receipt.store != to.name:
        raise ReceiptMismatch(f"the receipt is of the store {receipt.store[:80]}, not of {to}", uid=item.uid)


def _state(answer: pb.Delivery | None) -> DeliveryState | None:
    if answer is None or not answer.state:
        return None
    try:
        return DeliveryState(answer.state)
    except ValueError:
        # Of a newer site: whatever it is, it knows of it.
        return DeliveryState.VERIFYING


def _error(answer: pb.Delivery, otherwise: LibrarianError | None = None) -> LibrarianError:
    if answer.error.reason or answer.error.code:
        return error_of(answer.error)
    return otherwise or InternalError("the receiver gave no reason")
