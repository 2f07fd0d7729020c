"""The offer of a batch: made once, written down, and made again as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import (
    DatasetNotFound,
    InternalError,
    LibrarianError,
    RequestIdReused,
    SourceVanished,
)
from librarian.messages import error_of, microseconds
from transfer_svc.replicas import ReplicaState
from transfer_svc.sending import batch_queries
from transfer_svc.sending.confirming import take_receipts
from transfer_svc.sending.desk import Desk
from transfer_svc.sending.link import Link
from transfer_svc.sending.patience import patiently
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.values import Destination, Parcel

# Where a copy is read from, the first that there is. One in doubt may be sent: the receiver re-reads it.
_SOURCES: Final = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT)


async def offer(desk: Desk, roster: Roster, link: Link) -> None:
    """Makes the offer and does what the verdicts say. Afterwards each parcel has a landing, or has left."""
    datasets = await _datasets(desk)
    await _choose_sources(desk, datasets)
    if not desk.parcels:
        return
    request = _kept(desk)
    if request is None or desk.forgotten:
        request = _made(desk, roster, datasets)
        async with desk.context.database.hot() as connection:
            await batch_queries.keep_offer(connection, desk.batch, request.SerializeToString())
        desk.batch.offer = request.SerializeToString()
    desk.items = {item.uid: item for item in request.items}
    desk.context.faults.hit("send.offer_kept")
    try:
        response: pb.OfferResponse = await link.call("Offer", request)
    except LibrarianError as error:
        await _refused(desk, error)
        return
    desk.context.faults.hit("send.offer_answered")
    desk.landings = response.landings
    verdicts = dict(zip((item.uid for item in request.items), response.verdicts, strict=False))
    await _take_verdicts(desk, roster, verdicts)
    desk.context.faults.hit("send.verdicts_written")


async def _take_verdicts(desk: Desk, roster: Roster, verdicts: dict[str, pb.OfferVerdict]) -> None:
    sent, receipts = [], []
    failed: list[tuple[Parcel, LibrarianError]] = []
    for uid, parcel in desk.parcels.items():
        verdict = verdicts.get(uid)
        match verdict.WhichOneof("result") if verdict is not None else None:
            case "send":
                assert verdict is not None
                if 0 <= verdict.send.landing < len(desk.landings):
                    sent.append((parcel, verdict.send))
                else:
                    failed.append((parcel, InternalError("the receiver names a landing it does not give")))
            case "receipt":
                assert verdict is not None
                receipts.append((parcel, verdict.receipt))
            case "error":
                assert verdict is not None
                failed.append((parcel, error_of(verdict.error)))
            case _:
                failed.append((parcel, InternalError("the receiver gave no verdict")))
    await desk.accept(sent)
    await desk.troubled(failed)
    await take_receipts(desk, roster, receipts)


def _kept(desk: Desk) -> pb.OfferRequest | None:
    return None if desk.batch.offer is None else pb.OfferRequest.FromString(desk.batch.offer)


async def _datasets(desk: Desk) -> dict[str, catalog_pb2.Dataset]:
    request = catalog_pb2.BatchGetDatasetsRequest(uids=list(desk.parcels))
    response = await patiently(desk.means, lambda: desk.context.catalog.BatchGetDatasets(request))
    return {dataset.uid: dataset for dataset in response.datasets}


async def _choose_sources(desk: Desk, datasets: dict[str, catalog_pb2.Dataset]) -> None:
    """Those that cannot be sent leave. One that is receipted is offered like any other: the receiver knows
    best whether it still has it.
    """
    failed: list[tuple[Parcel, LibrarianError]] = []
    for uid, parcel in list(desk.parcels.items()):
        dataset = datasets.get(uid)
        if dataset is None:
            failed.append((parcel, DatasetNotFound(f"{parcel.name} is no live dataset any more", uid=uid)))
        elif not (store := _source(dataset, desk.batch.to)):
            failed.append((parcel, SourceVanished(f"no copy of {parcel.name} here can be read", uid=uid)))
        else:
            parcel.store, parcel.traceparent = store, dataset.traceparent
    await desk.troubled(failed)


def _source(dataset: catalog_pb2.Dataset, to: Destination) -> str:
    for state in _SOURCES:
        for replica in dataset.replicas:
            if int(replica.state) == state and (to.is_peer or replica.store != to.name):
                return replica.store
    return ""


def _made(desk: Desk, roster: Roster, datasets: dict[str, catalog_pb2.Dataset]) -> pb.OfferRequest:
    uids = sorted(desk.parcels)
    now_us = microseconds(desk.context.clock.now())
    return pb.OfferRequest(
        batch_id=desk.batch.batch_id,
        items=[_item(datasets[uid]) for uid in uids],
        introductions=roster.introductions((_signer(datasets[uid].origin) for uid in uids), now_us),
        store="" if desk.batch.to.is_peer else desk.batch.destination,
    )


def _item(dataset: catalog_pb2.Dataset) -> pb.OfferItem:
    return pb.OfferItem(
        uid=dataset.uid,
        name=dataset.name,
        kind=dataset.kind,
        digest=dataset.digest,
        size_bytes=dataset.size_bytes,
        member_count=dataset.member_count,
        tags=dataset.tags,
        origin=dataset.origin,
    )


def _signer(origin: common_pb2.Signed) -> tuple[str, str]:
    """Whose key signed it, by its own word; one that cannot be read is the receiver's to refuse."""
    try:
        return common_pb2.Origin.FromString(origin.payload).site, origin.key_id
    except DecodeError:
        return "", origin.key_id


async def _refused(desk: Desk, error: LibrarianError) -> None:
    """The offer as a whole: one item may spoil it, so a batch is halved until that item is alone."""
    parcels: Sequence[Parcel] = list(desk.parcels.values())
    if len(parcels) == 1 or isinstance(error, RequestIdReused):
        await desk.troubled([(parcel, error) for parcel in parcels])
        return
    half = parcels[len(parcels) // 2 :]
    desk.context.logger.warning(
        "offer_refused", batch_id=desk.batch.batch_id, reason=error.reason, message=error.message
    )
    async with desk.context.database.hot() as connection:
        await batch_queries.split(
            connection,
            desk.batch,
            desk.context.ids.new_uid(),
            [parcel.transfer_id for parcel in half],
            now=desk.context.clock.now(),
            channel=desk.means.channels.queue,
        )
    desk.batch.offer = None
    for parcel in half:
        desk.parcels.pop(parcel.dataset_uid, None)
