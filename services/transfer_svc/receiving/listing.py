"""What comes in, for this site's own people: ListDeliveries, and the incoming part of the status."""

from __future__ import annotations

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import InvalidPageToken
from librarian.messages import timestamp
from svckit.auth import Caller
from svckit.paging import decode_page_token, encode_page_token, page_size
from transfer_svc import rules
from transfer_svc.context import Context, owner_of
from transfer_svc.receiving import listing_queries as queries
from transfer_svc.receiving import peer_queries
from transfer_svc.receiving.delivering import to_proto
from transfer_svc.receiving.values import Delivery


async def list_deliveries(
    context: Context, caller: Caller, request: pb.ListDeliveriesRequest
) -> pb.ListDeliveriesResponse:
    """A page, newest first. Raises InvalidInput, InvalidPageToken."""
    limit = page_size(request.page_size)
    binding = repr((caller.subject, request.peer, sorted(request.states))).encode()
    after = _position(request.page_token, binding) if request.page_token else ""
    async with context.database.transaction() as connection:
        found = await queries.list_deliveries(
            connection,
            peer=request.peer,
            states=list(request.states),
            name_regex=owner_of(caller).name_regex,
            after=after,
            limit=limit + 1,
        )
    page = found[:limit]
    token = encode_page_token([page[-1].delivery_id], binding=binding) if len(found) > limit else ""
    return pb.ListDeliveriesResponse(deliveries=[_incoming(each) for each in page], next_page_token=token)


async def incoming_status(context: Context) -> list[pb.IncomingStatus]:
    """One for each peer, and for this site's own workers (with an empty name) while they bring something."""
    async with context.database.transaction() as connection:
        names = await peer_queries.peer_names(connection)
        sums = {peer: rest for peer, *rest in await queries.incoming(connection, context.clock.now())}
        peers = sorted({*names, *sums})
        receipts = await queries.last_receipts(connection, peers)
    statuses = []
    for peer in peers:
        active, size, refused = sums.get(peer, (0, 0, 0))
        statuses.append(
            pb.IncomingStatus(
                peer=peer,
                active_count=active,
                active_bytes=size,
                refused_count=refused,
                last_receipt_time=timestamp(receipts[peer]) if peer in receipts else None,
            )
        )
    return statuses


def _incoming(delivery: Delivery) -> pb.IncomingDelivery:
    return pb.IncomingDelivery(
        peer=delivery.peer,
        batch_id=delivery.batch_id,
        name=delivery.name,
        size_bytes=delivery.size_bytes,
        store=delivery.store,
        delivery=to_proto(delivery),
        accept_time=timestamp(delivery.accept_time),
    )


def _position(token: str, binding: bytes) -> str:
    match decode_page_token(token, binding=binding):
        case [str(delivery_id)] if rules.can_be_id(delivery_id):
            return delivery_id
    raise InvalidPageToken("the page token is garbled")
