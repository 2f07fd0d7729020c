"""ListTransfers, GetTransfer, GetTransferStatus."""

from __future__ import annotations

from collections.abc import Iterable

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import InvalidPageToken, TransferNotFound
from librarian.messages import timestamp
from svckit.auth import Caller
from svckit.paging import decode_page_token, encode_page_token, page_size
from transfer_svc.context import Context
from transfer_svc.receiving.listing import incoming_status
from transfer_svc.rules import can_be_id
from transfer_svc.sending import link_queries, route_queries
from transfer_svc.sending.lifecycle import BATCHED, TransferState
from transfer_svc.sending.messages import entry_to_proto, transfer_to_proto
from transfer_svc.sending.route_queries import Selection, Sums
from transfer_svc.sending.steering import regex_of, regexes_of
from transfer_svc.sending.values import DestinationKind

_HELD_SHOWN = 100
_S = TransferState


async def list_transfers(
    context: Context, caller: Caller, request: pb.ListTransfersRequest
) -> pb.ListTransfersResponse:
    """Raises InvalidPageToken, InvalidGlob, BatchTooLarge."""
    size = page_size(request.page_size)
    asked = pb.ListTransfersRequest()
    asked.CopyFrom(request)
    asked.ClearField("page_token")
    asked.ClearField("page_size")
    binding = asked.SerializeToString(deterministic=True) + caller.name_prefix.encode()
    after = _position(request.page_token, binding) if request.page_token else ""
    selection = Selection(
        destination=request.destination,
        name_regex=regex_of(request.name_glob),
        route_id=request.route_id,
        limit_regex=regex_of(caller.name_prefix),
        name_regexes=regexes_of(request.name_globs),
    )
    async with context.database.transaction() as connection:
        found = await route_queries.list_transfers(
            connection,
            selection,
            states=list(request.states),
            dataset_uid=request.dataset_uid,
            after=after,
            limit=size + 1,
        )
    page = found[:size]
    return pb.ListTransfersResponse(
        transfers=[transfer_to_proto(each) for each in page],
        next_page_token=encode_page_token([page[-1].transfer_id], binding=binding)
        if len(found) > size
        else "",
    )


def _position(token: str, binding: bytes) -> str:
    match decode_page_token(token, binding=binding):
        case [str(transfer_id)] if can_be_id(transfer_id):
            return transfer_id
    raise InvalidPageToken("the page token is garbled")


async def get_transfer(context: Context, caller: Caller, transfer_id: str) -> pb.GetTransferResponse:
    """Raises TransferNotFound."""
    if can_be_id(transfer_id):
        async with context.database.hot() as connection:
            found = (await route_queries.fetch(connection, [transfer_id])).get(transfer_id)
            if found is not None and caller.may_see(found.name):
                log = (await route_queries.logs_of(connection, [transfer_id])).get(transfer_id, [])
                return pb.GetTransferResponse(
                    transfer=transfer_to_proto(found), log=[entry_to_proto(entry) for entry in log]
                )
    raise TransferNotFound(f"there is no transfer {transfer_id[:80]}", transfer_id=transfer_id[:80])


async def transfer_status(context: Context, caller: Caller) -> pb.GetTransferStatusResponse:
    async with context.database.hot() as connection:
        sums = await route_queries.sums(connection)
        held = await route_queries.held(connection, _HELD_SHOWN)
        peers = await link_queries.all_peers(connection)
        links = {
            row["destination"]: row
            for row in await link_queries.all_links(connection)
            if row["destination_kind"] == DestinationKind.PEER
        }
    response = pb.GetTransferStatusResponse(
        queues=queues_of(sums), held=[transfer_to_proto(each) for each in held if caller.may_see(each.name)]
    )
    response.incoming.extend(await incoming_status(context))
    for name, peer in sorted(peers.items()):
        if peer.removed:
            continue
        link = response.links.add(peer=name, paused=peer.paused)
        if (row := links.get(name)) is not None:
            link.broken = row["failure_count"] > 0
            link.reason = row["reason"]
            for field in ("since_time", "next_time", "last_success_time"):
                if row[field] is not None:
                    getattr(link, field).CopyFrom(timestamp(row[field]))
    return response


def queues_of(sums: Iterable[Sums]) -> list[pb.QueueStatus]:
    """One for each route that has something."""
    found: dict[str, pb.QueueStatus] = {}
    for each in sums:
        queue = found.setdefault(
            each.route_id,
            pb.QueueStatus(
                destination=each.destination,
                destination_kind=pb.DestinationKind.ValueType(each.destination_kind),
                via=each.via,
                route_id=each.route_id,
            ),
        )
        if each.state in {_S.PLANNED, _S.QUEUED}:
            queue.waiting_count += each.count
            queue.waiting_bytes += each.size_bytes
            since = timestamp(each.since)
            known = queue.oldest_time
            if not queue.HasField("oldest_time") or (since.seconds, since.nanos) < (
                known.seconds,
                known.nanos,
            ):
                queue.oldest_time.CopyFrom(since)
        elif each.state in BATCHED:
            queue.active_count += each.count
            queue.active_bytes += each.size_bytes
            queue.moved_bytes += each.moved_bytes
            queue.bytes_per_second += each.bytes_per_second
        elif each.state == _S.HELD:
            queue.held_count += each.count
        else:
            queue.failed_count += each.count
    return list(found.values())
