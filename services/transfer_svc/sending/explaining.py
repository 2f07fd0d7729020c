"""ExplainDataset: reads what is stored about a dataset, and has it told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import DatasetNotFound
from librarian.messages import datetime_of, timestamp
from svckit.auth import Caller
from transfer_svc.context import Context
from transfer_svc.messages import error_from_json
from transfer_svc.replicas import ReplicaState
from transfer_svc.sending import link_queries, plan_queries, route_queries, telling
from transfer_svc.sending.matching import mismatch, obstacle
from transfer_svc.sending.messages import entry_to_proto, route_to_proto, transfer_to_proto
from transfer_svc.sending.planner import subject_of
from transfer_svc.sending.values import Destination, DestinationKind, Peer, Route, Transfer

_RECEIPTS = 1000


async def explain_dataset(
    context: Context, caller: Caller, request: pb.ExplainDatasetRequest
) -> pb.ExplainDatasetResponse:
    """Raises DatasetNotFound."""
    key = {"uid": request.uid} if request.WhichOneof("key") == "uid" else {"name": request.name}
    dataset = (await context.catalog.GetDataset(catalog_pb2.GetDatasetRequest(**key))).dataset
    if not caller.may_see(dataset.name):
        raise DatasetNotFound("no dataset of that name or uid is known here")
    asked = catalog_pb2.ListReceiptsRequest(dataset_uid=dataset.uid, page_size=_RECEIPTS)
    receipts = _by_site((await context.catalog.ListReceipts(asked)).receipts)
    async with context.database.hot() as connection:
        routes = await plan_queries.routes_in_use(connection)
        transfers = await route_queries.of_dataset(connection, dataset.uid)
        logs = await route_queries.logs_of(connection, [each.transfer_id for each in transfers])
        peers = await link_queries.all_peers(connection)
        links = {
            (row["destination_kind"], row["destination"]): row
            for row in await link_queries.all_links(connection)
        }
    response = pb.ExplainDatasetResponse(dataset_uid=dataset.uid, name=dataset.name)
    for to in _destinations(dataset, routes, transfers, peers, request.destination):
        mine = [route for route in routes if route.to == to]
        newest = next((each for each in transfers if each.to == to), None)
        told = _tell(dataset, to, mine, newest, peers, links.get((int(to.kind), to.name)))
        explanation = response.explanations.add(
            destination=to.name,
            standing=pb.Standing.ValueType(told.standing),
            summary=told.summary,
            waits_for=told.waits_for,
            next_step=told.next_step,
            since_time=_time(told.since),
            next_time=_time(told.next_time),
            transfer=transfer_to_proto(newest) if newest is not None else None,
            log=[entry_to_proto(entry) for entry in logs.get(newest.transfer_id, [])] if newest else (),
        )
        subject = subject_of(dataset)
        for route in mine:
            reason = mismatch(subject, route)
            explanation.routes.add(route=route_to_proto(route), matches=not reason, reason=reason)
        if to.is_peer and to.name in receipts:
            explanation.receipt.CopyFrom(receipts[to.name])
    return response


def _tell(
    dataset: catalog_pb2.Dataset,
    to: Destination,
    routes: Sequence[Route],
    transfer: Transfer | None,
    peers: dict[str, Peer],
    link: dict[str, object] | None,
) -> telling.Telling:
    subject = subject_of(dataset)
    if subject.is_at(to):
        since, via = _arrival(dataset, to)
        return telling.there(to, since, via)
    if transfer is None:
        matching = [route for route in routes if not mismatch(subject, route)]
        return telling.unplanned(to, matching, [obstacle(subject, route) for route in matching])
    route = next((each for each in routes if each.route_id == transfer.route_id), None)
    error = error_from_json(transfer.error_json)
    reason = ""
    if error is not None:
        remedy = error.metadata.get("remedy", "")
        reason = f"{error.reason}: {error.message}" + (f" ({remedy})" if remedy else "")
    return telling.of_transfer(transfer, route, _way(to, peers, link), reason)


def _way(to: Destination, peers: dict[str, Peer], link: dict[str, object] | None) -> telling.Way:
    peer = peers.get(to.name)
    broken = link is not None and bool(link["failure_count"])
    next_time = link["next_time"] if link is not None and broken else None
    return telling.Way(
        paused=to.is_peer and peer is not None and peer.paused,
        unknown=to.is_peer and (peer is None or peer.removed),
        broken=str(link["reason"]) if link is not None and broken else "",
        next_time=next_time if isinstance(next_time, datetime) else None,
    )


def _arrival(dataset: catalog_pb2.Dataset, to: Destination) -> tuple[datetime | None, str]:
    """When it is known to be there since, and who brought the word."""
    if to.is_peer:
        for remote in dataset.remote_replicas:
            if remote.site == to.name:
                return datetime_of(remote.record_time), remote.via_site
    for replica in dataset.replicas:
        if replica.store == to.name and int(replica.state) == ReplicaState.AVAILABLE:
            return datetime_of(replica.update_time), ""
    return None, ""


def _destinations(
    dataset: catalog_pb2.Dataset,
    routes: Sequence[Route],
    transfers: Sequence[Transfer],
    peers: dict[str, Peer],
    asked: str,
) -> list[Destination]:
    known = {route.to for route in routes} | {each.to for each in transfers}
    known |= {Destination(DestinationKind.PEER, each.site) for each in dataset.remote_replicas}
    if not asked:
        return sorted(known)
    found = sorted(to for to in known if to.name == asked)
    kind = DestinationKind.PEER if asked in peers else DestinationKind.STORE
    return found or [Destination(kind, asked)]


def _by_site(receipts: Sequence[catalog_pb2.ReceiptRecord]) -> dict[str, common_pb2.Signed]:
    """The newest of each site."""
    return {common_pb2.Receipt.FromString(record.receipt.payload).site: record.receipt for record in receipts}


def _time(moment: datetime | None) -> object:
    return timestamp(moment) if moment is not None else None
