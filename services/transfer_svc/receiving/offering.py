"""Offer: what each dataset of a batch is to this site, written down before a store reserves anything.

The statements of the sender are checked first, then the catalogue is asked; one transaction writes the
batch, its deliveries and their ingests; then stores are asked as for any ingest. The same offer again finds
its deliveries and goes on wherever the first one stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1.common_pb2 import Signed
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import (
    Denied,
    LibrarianError,
    RequestIdReused,
    Unavailable,
    Withdrawn,
)
from librarian.messages import error_of, item_error
from librarian.names import printable
from svckit.auth import Caller
from svckit.idempotency import check_request_id
from svckit.sitekeys import SiteKeys
from transfer_svc import queries as ingest_queries
from transfer_svc import rules
from transfer_svc.context import Context
from transfer_svc.messages import error_from_json, error_to_json
from transfer_svc.querykit import bare
from transfer_svc.receiving import queries
from transfer_svc.receiving.bringers import bringer_of
from transfer_svc.receiving.judging import Bring, Here, Offered, Refused, check_count, is_passing, judge
from transfer_svc.receiving.landing import Landing
from transfer_svc.receiving.lifecycle import DELIVERY, OPEN, DeliveryEvent, DeliveryState
from transfer_svc.receiving.offers import check_uids, content_of, digest_of, read_items
from transfer_svc.receiving.peers import known_keys, learn_introductions
from transfer_svc.receiving.receipts import look_up, sign_receipts
from transfer_svc.receiving.values import Bringer, Delivery

# Of what was wrong in itself no more than this is kept of a name.
_NAME_CHARACTERS = 200
_DIGEST_BYTES = 64


@dataclass(slots=True)
class _Decided:
    """By position: receipts of what is here, errors, and what is to be brought."""

    receipts: dict[int, bytes] = field(default_factory=dict)
    errors: dict[int, LibrarianError] = field(default_factory=dict)
    wanted: dict[int, Offered] = field(default_factory=dict)


async def offer(
    context: Context, site_keys: SiteKeys, caller: Caller, request: pb.OfferRequest
) -> pb.OfferResponse:
    """A verdict for each item. Raises BatchTooLarge, InvalidInput, RequestIdReused, Denied."""
    bringer = bringer_of(caller)
    check_request_id(request.batch_id)
    check_count(len(request.items))
    check_count(len(request.introductions))
    check_uids(request.items)
    if bringer.peer and request.store:
        raise Denied(f"{bringer.peer} names the store {request.store[:80]}; the receiver chooses")
    decided = await _decide(context, site_keys, bringer, request)
    context.faults.hit("offer.decided")
    found, arriving = await _write_down(context, bringer, request, decided)
    context.faults.hit("offer.written")
    landing = Landing(context, caller, bringer, request)
    await landing.run([each for each in found.values() if each.state in OPEN])
    _tell_refused(context, bringer, request, decided)
    positions = {item.uid: position for position, item in enumerate(request.items)}
    verdicts = [pb.OfferVerdict() for _ in request.items]
    for position, error in decided.errors.items():
        verdicts[position].error.CopyFrom(item_error(error))
    for uid in arriving:
        verdicts[positions[uid]].error.CopyFrom(item_error(_being_verified(uid)))
    for uid, delivery in found.items():
        verdicts[positions[uid]].CopyFrom(landing.verdict(delivery) or _verdict(delivery))
    return pb.OfferResponse(verdicts=verdicts, landings=landing.grants)


async def _decide(
    context: Context, site_keys: SiteKeys, bringer: Bringer, request: pb.OfferRequest
) -> _Decided:
    ring = None
    if bringer.peer:
        ring = await known_keys(context, site_keys)
        await learn_introductions(context, ring, request.introductions, bringer.peer)
    good, wrong = await asyncio.to_thread(read_items, request.items, ring)
    decided = _Decided(errors=wrong)
    if not good:
        return decided
    known = await look_up(context, [item.uid for item in good], [item.content.name for item in good])
    here: list[tuple[Offered, Here]] = []
    for item in good:
        by_name = known.by_name.get(item.content.name)
        match judge(item.uid, item.content, known.by_uid.get(item.uid), by_name, only=request.store):
            case Here() as held:
                here.append((item, held))
            case Refused(error):
                decided.errors[item.position] = error
            case Bring():
                decided.wanted[item.position] = item
    await _ask_names(context, decided, known.by_uid)
    statements = [(item.uid, item.content, where) for item, where in here]
    receipts = await asyncio.to_thread(sign_receipts, site_keys, context.clock, statements)
    decided.receipts = {item.position: receipt for (item, _), receipt in zip(here, receipts, strict=True)}
    return decided


async def _ask_names(context: Context, decided: _Decided, live: Collection[str]) -> None:
    """Whether the names of new datasets may be taken beside those there are."""
    new = [item for item in decided.wanted.values() if item.uid not in live]
    if not new:
        return
    response = await context.catalog.ReserveNames(
        catalog_pb2.ReserveNamesRequest(
            request_id=context.ids.new_uid(),
            uids=[item.uid for item in new],
            names=[item.content.name for item in new],
        )
    )
    for told in response.verdicts:
        # One that came to be since it was looked up is met again when it is published.
        if told.HasField("error"):
            item = new[told.index]
            del decided.wanted[item.position]
            decided.errors[item.position] = error_of(told.error)


async def _write_down(
    context: Context, bringer: Bringer, request: pb.OfferRequest, decided: _Decided
) -> tuple[dict[str, Delivery], set[str]]:
    """The batch's deliveries by uid, as they stand; and the uids that another batch of the peer has
    delivered, which have none in this one.
    """
    now = context.clock.now()
    batch = {"peer": bringer.peer, "batch_id": request.batch_id}
    async with context.database.transaction() as connection:
        digest = digest_of(request)
        if await queries.note_offer(connection, **batch, digest=digest, now=now) != digest:
            raise RequestIdReused(f"batch {request.batch_id} was offered before with other items")
        driver = await bare(connection)
        known = {each.uid: each for each in await queries.fetch_batch(driver, **batch)}
        arrived = _arrived(request, decided, known)
        if arrived:
            await queries.receipt_instead(driver, arrived, now)
            await ingest_queries.call_workers(driver, context.channels.work)
        wanted = {item.uid: item for item in decided.wanted.values() if item.uid not in known}
        elsewhere = await queries.unfinished_elsewhere(driver, **batch, uids=list(wanted))
        arriving = {uid for _, uid, _, state, _ in elsewhere if state not in OPEN}
        taken = {
            uid: (delivery, upload)
            for delivery, uid, upload, state, content in elsewhere
            # The upload of other content under the same uid is nothing to go on with.
            if upload and state in OPEN and content == wanted[uid].content
        }
        if taken:
            moved = error_to_json(Withdrawn(f"batch {request.batch_id} brings it now"))
            await queries.supersede(driver, [delivery for delivery, _ in taken.values()], moved, now)
        uploads = {uid: upload for uid, (_, upload) in taken.items()}
        rows, fresh = _rows(context, request, decided, skip=known.keys() | arriving, uploads=uploads)
        if rows:
            entered = await queries.insert_deliveries(driver, rows, **batch, now=now)
            ingests = [_ingest(upload, item) for upload, item in fresh if item.uid in entered]
            if ingests:
                await queries.insert_foreign(
                    driver,
                    ingests,
                    token_id=bringer.token_id,
                    now=now,
                    expire_time=now + context.lifetime,
                )
        if rows or arrived:
            known = {each.uid: each for each in await queries.fetch_batch(driver, **batch)}
    return known, arriving


def _arrived(
    request: pb.OfferRequest, decided: _Decided, known: Mapping[str, Delivery]
) -> list[tuple[str, bytes]]:
    """Receipts, by upload, of what this batch was to bring and what came by another way meanwhile."""
    return [
        (known[item.uid].upload_id, decided.receipts[position])
        for position, item in enumerate(request.items)
        if position in decided.receipts and item.uid in known and known[item.uid].state in OPEN
    ]


def _rows(
    context: Context,
    request: pb.OfferRequest,
    decided: _Decided,
    *,
    skip: Collection[str],
    uploads: Mapping[str, str],
) -> tuple[list[Sequence[Any]], list[tuple[str, Offered]]]:
    """Deliveries in the order of `queries.insert_deliveries`, and the uploads that are new."""
    rows: list[Sequence[Any]] = []
    fresh: list[tuple[str, Offered]] = []
    initial = DELIVERY.initial
    for position, item in enumerate(request.items):
        if item.uid in skip:
            continue
        state, upload, receipt, error = initial, "", decided.receipts.get(position), ""
        if receipt is not None:
            state = DELIVERY.move(initial, DeliveryEvent.SIGN)
        elif position in decided.wanted:
            upload = uploads.get(item.uid, "")
            if not upload:
                upload = context.ids.new_uid()
                fresh.append((upload, decided.wanted[position]))
        elif is_passing(decided.errors[position]):
            # Nothing is known of it: the same offer may try it anew.
            continue
        else:
            state = DELIVERY.move(initial, DeliveryEvent.REFUSE)
            error = error_to_json(decided.errors[position])
        content = content_of(item)
        rows.append(
            (
                context.ids.new_uid(),
                position,
                item.uid,
                printable(content.name)[:_NAME_CHARACTERS] if error else content.name,
                content.kind if 0 <= content.kind < 100 else 0,
                printable(content.algorithm)[:_NAME_CHARACTERS],
                content.digest[:_DIGEST_BYTES],
                content.size_bytes,
                content.member_count,
                int(state),
                upload,
                receipt,
                error,
            )
        )
    return rows, fresh


def _ingest(upload: str, item: Offered) -> tuple[Any, ...]:
    """Values in the order of `queries.insert_foreign`."""
    content, birth = item.content, item.birth
    return (
        upload,
        item.uid,
        content.name,
        content.kind,
        content.size_bytes,
        # Not said: members are known, and how many directories they lie in is not.
        0,
        content.algorithm,
        rules.tags_json(item.tags),
        birth.create_time_us,
        birth.traceparent or rules.traceparent_of(item.uid),
        birth.uploader,
        item.origin,
        birth.site,
    )


def _verdict(delivery: Delivery) -> pb.OfferVerdict:
    """Of one that is not open, as it stands."""
    if delivery.state == DeliveryState.RECEIPTED:
        return pb.OfferVerdict(receipt=Signed.FromString(delivery.receipt or b""))
    error = error_from_json(delivery.error_json)
    return pb.OfferVerdict(error=error or item_error(_being_verified(delivery.uid)))


def _being_verified(uid: str) -> Unavailable:
    return Unavailable(
        f"{uid} was delivered and is being verified", remedy="ask again: there will be a receipt", uid=uid
    )


def _tell_refused(context: Context, bringer: Bringer, request: pb.OfferRequest, decided: _Decided) -> None:
    """One event for each reason: also of a peer that lies."""
    reasons: dict[str, list[str]] = {}
    for position, error in decided.errors.items():
        reasons.setdefault(error.reason, []).append(request.items[position].uid)
    for reason, uids in reasons.items():
        context.logger.warning(
            "offer_refused",
            peer=bringer.peer,
            batch_id=request.batch_id,
            reason=reason,
            count=len(uids),
            uids=uids[:10],
        )
