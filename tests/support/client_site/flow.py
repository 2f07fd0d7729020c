"""The part of TransferService between sites, and PeerService: answers that a test wrote down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from librarian.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from librarian.api.transfer.v1 import transfer_pb2, transfer_pb2_grpc
from librarian.errors import LibrarianError, TransferNotFound
from librarian.globs import compile_glob
from librarian.messages import item_error
from support.client_site.state import State

Context = grpc.aio.ServicerContext[Any, Any]
PAGE = 2


class Flow(transfer_pb2_grpc.TransferServiceServicer):
    """`watches`: what each WatchTransfers call streams, an error where it breaks off; the last one stays open
    at its end. `asked` has the requests that change something, and the filters of listings.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.routes: list[transfer_pb2.Route] = []
        self.transfers: list[transfer_pb2.Transfer] = []
        self.logs: dict[str, list[transfer_pb2.TransferLogEntry]] = {}
        self.deliveries: list[transfer_pb2.IncomingDelivery] = []
        self.explanations: list[transfer_pb2.Explanation] = []
        self.status = transfer_pb2.GetTransferStatusResponse()
        self.watches: list[list[transfer_pb2.WatchTransfersResponse | LibrarianError]] = []
        self.asked: list[Any] = []

    async def AddRoute(  # noqa: N802
        self, request: transfer_pb2.AddRouteRequest, context: Context
    ) -> transfer_pb2.AddRouteResponse:
        await self._enter("AddRoute", request, context)
        route = transfer_pb2.Route()
        route.CopyFrom(request.route)
        route.route_id = f"{len(self.routes):08}-0000-4000-8000-000000000000"
        self.routes.append(route)
        return transfer_pb2.AddRouteResponse(route=route)

    async def ListRoutes(  # noqa: N802
        self, request: transfer_pb2.ListRoutesRequest, context: Context
    ) -> transfer_pb2.ListRoutesResponse:
        await self._state.enter("ListRoutes", context)
        return transfer_pb2.ListRoutesResponse(routes=self.routes)

    async def UpdateRoute(  # noqa: N802
        self, request: transfer_pb2.UpdateRouteRequest, context: Context
    ) -> transfer_pb2.UpdateRouteResponse:
        await self._enter("UpdateRoute", request, context)
        [route] = [route for route in self.routes if route.route_id == request.route.route_id]
        request.update_mask.MergeMessage(request.route, route)
        return transfer_pb2.UpdateRouteResponse(route=route)

    async def RemoveRoute(  # noqa: N802
        self, request: transfer_pb2.RemoveRouteRequest, context: Context
    ) -> transfer_pb2.RemoveRouteResponse:
        await self._enter("RemoveRoute", request, context)
        self.routes = [route for route in self.routes if route.route_id != request.route_id]
        return transfer_pb2.RemoveRouteResponse(cancelled_count=3)

    async def ListTransfers(  # noqa: N802
        self, request: transfer_pb2.ListTransfersRequest, context: Context
    ) -> transfer_pb2.ListTransfersResponse:
        """Pages of two, so that paging is seen at work."""
        await self._enter("ListTransfers", request, context)
        found = [one for one in self.transfers if _is_meant(one, request)]
        start = int(request.page_token or 0)
        more = start + PAGE < len(found)
        return transfer_pb2.ListTransfersResponse(
            transfers=found[start : start + PAGE], next_page_token=str(start + PAGE) if more else ""
        )

    async def GetTransfer(  # noqa: N802
        self, request: transfer_pb2.GetTransferRequest, context: Context
    ) -> transfer_pb2.GetTransferResponse:
        await self._state.enter("GetTransfer", context)
        for transfer in self.transfers:
            if transfer.transfer_id == request.transfer_id:
                log = self.logs.get(transfer.transfer_id, [])
                return transfer_pb2.GetTransferResponse(transfer=transfer, log=log)
        await self._state.abort(context, TransferNotFound(f"there is no transfer {request.transfer_id}"))
        raise AssertionError

    async def WatchTransfers(  # noqa: N802
        self, request: transfer_pb2.WatchTransfersRequest, context: Context
    ) -> AsyncIterator[transfer_pb2.WatchTransfersResponse]:
        await self._enter("WatchTransfers", request, context)
        for answer in self.watches.pop(0):
            if isinstance(answer, LibrarianError):
                await self._state.abort(context, answer)
            else:
                yield answer
        if not self.watches:
            self._state.on.get("watched", lambda: None)()
            await asyncio.Event().wait()

    async def RetryTransfers(  # noqa: N802
        self, request: transfer_pb2.RetryTransfersRequest, context: Context
    ) -> transfer_pb2.RetryTransfersResponse:
        await self._enter("RetryTransfers", request, context)
        verdicts = self._verdicts(request.selection)
        return transfer_pb2.RetryTransfersResponse(changed_count=self._count(request), verdicts=verdicts)

    async def CancelTransfers(  # noqa: N802
        self, request: transfer_pb2.CancelTransfersRequest, context: Context
    ) -> transfer_pb2.CancelTransfersResponse:
        await self._enter("CancelTransfers", request, context)
        verdicts = self._verdicts(request.selection)
        return transfer_pb2.CancelTransfersResponse(changed_count=self._count(request), verdicts=verdicts)

    async def PrioritizeTransfers(  # noqa: N802
        self, request: transfer_pb2.PrioritizeTransfersRequest, context: Context
    ) -> transfer_pb2.PrioritizeTransfersResponse:
        await self._enter("PrioritizeTransfers", request, context)
        verdicts = self._verdicts(request.selection)
        return transfer_pb2.PrioritizeTransfersResponse(changed_count=self._count(request), verdicts=verdicts)

    async def ExplainDataset(  # noqa: N802
        self, request: transfer_pb2.ExplainDatasetRequest, context: Context
    ) -> transfer_pb2.ExplainDatasetResponse:
        await self._enter("ExplainDataset", request, context)
        [dataset] = [one for one in self._state.datasets.values() if one.uid == request.uid]
        wanted = request.destination
        return transfer_pb2.ExplainDatasetResponse(
            dataset_uid=dataset.uid,
            name=dataset.name,
            explanations=[one for one in self.explanations if wanted in {"", one.destination}],
        )

    async def GetTransferStatus(  # noqa: N802
        self, request: transfer_pb2.GetTransferStatusRequest, context: Context
    ) -> transfer_pb2.GetTransferStatusResponse:
        await self._state.enter("GetTransferStatus", context)
        return self.status

    async def ListDeliveries(  # noqa: N802
        self, request: transfer_pb2.ListDeliveriesRequest, context: Context
    ) -> transfer_pb2.ListDeliveriesResponse:
        await self._enter("ListDeliveries", request, context)
        return transfer_pb2.ListDeliveriesResponse(deliveries=self.deliveries)

    async def _enter(self, method: str, request: Any, context: Context) -> None:
        self.asked.append(request)
        await self._state.enter(method, context)

    def _verdicts(self, selection: transfer_pb2.TransferSelection) -> list[transfer_pb2.TransferVerdict]:
        known = {transfer.transfer_id: transfer for transfer in self.transfers}
        unknown = item_error(TransferNotFound("there is no such transfer"))
        return [
            transfer_pb2.TransferVerdict(transfer=known[one])
            if one in known
            else transfer_pb2.TransferVerdict(error=unknown)
            for one in selection.transfer_ids
        ]

    def _count(self, request: Any) -> int:
        selection = request.selection
        if selection.transfer_ids:
            return sum(one.transfer_id in selection.transfer_ids for one in self.transfers)
        return sum(_is_meant(one, selection) for one in self.transfers)


class Peers(gateway_pb2_grpc.PeerServiceServicer):
    """`asked` has all requests."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.peers: list[gateway_pb2.Peer] = []
        self.asked: list[Any] = []

    async def InvitePeer(  # noqa: N802
        self, request: gateway_pb2.InvitePeerRequest, context: Context
    ) -> gateway_pb2.InvitePeerResponse:
        await self._enter("InvitePeer", request, context)
        return gateway_pb2.InvitePeerResponse(code="inv_abc")

    async def JoinPeer(  # noqa: N802
        self, request: gateway_pb2.JoinPeerRequest, context: Context
    ) -> gateway_pb2.JoinPeerResponse:
        await self._enter("JoinPeer", request, context)
        return gateway_pb2.JoinPeerResponse(peer=self.peers[0])

    async def ListPeers(  # noqa: N802
        self, request: gateway_pb2.ListPeersRequest, context: Context
    ) -> gateway_pb2.ListPeersResponse:
        await self._enter("ListPeers", request, context)
        return gateway_pb2.ListPeersResponse(peers=self.peers)

    async def UpdatePeer(  # noqa: N802
        self, request: gateway_pb2.UpdatePeerRequest, context: Context
    ) -> gateway_pb2.UpdatePeerResponse:
        await self._enter("UpdatePeer", request, context)
        return gateway_pb2.UpdatePeerResponse(peer=self.peers[0])

    async def RemovePeer(  # noqa: N802
        self, request: gateway_pb2.RemovePeerRequest, context: Context
    ) -> gateway_pb2.RemovePeerResponse:
        await self._enter("RemovePeer", request, context)
        return gateway_pb2.RemovePeerResponse(peer=self.peers[0])

    async def _enter(self, method: str, request: Any, context: Context) -> None:
        self.asked.append(request)
        await self._state.enter(method, context)


def _is_meant(transfer: transfer_pb2.Transfer, asked: Any) -> bool:
    states = getattr(asked, "states", ())
    return (
        (not states or transfer.state in states)
        and asked.destination in {"", transfer.destination}
        and asked.route_id in {"", transfer.route_id}
        and (
            not asked.name_globs
            or any(compile_glob(glob).matches(transfer.name) for glob in asked.name_globs)
        )
        and (not asked.name_glob or compile_glob(asked.name_glob).matches(transfer.name))
    )
