"""The part of TransferService that is about routes and transfers."""

# gRPC names the methods, and gives each a context.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceServicer
from svckit.auth import current_caller
from transfer_svc.context import Context
from transfer_svc.sending import explaining, reading, routes, steering
from transfer_svc.sending.means import SendingChannels
from transfer_svc.sending.messages import route_to_proto
from transfer_svc.sending.watching import Watchers, watch_transfers

_Call = ServicerContext[Any, Any]


class SendingServicer(TransferServiceServicer):
    """TransferServicer is this and more. `stopping`: watches end then."""

    def __init__(
        self, context: Context, stopping: asyncio.Event, channels: SendingChannels, watchers: Watchers
    ) -> None:
        self._context = context
        self._stopping = stopping
        self._sending = channels
        self._watchers = watchers

    async def AddRoute(self, request: pb.AddRouteRequest, context: _Call) -> pb.AddRouteResponse:
        return await routes.add_route(self._context, self._sending, current_caller(), request)

    async def ListRoutes(self, request: pb.ListRoutesRequest, context: _Call) -> pb.ListRoutesResponse:
        found = await routes.list_routes(self._context)
        return pb.ListRoutesResponse(routes=[route_to_proto(route) for route in found])

    async def UpdateRoute(self, request: pb.UpdateRouteRequest, context: _Call) -> pb.UpdateRouteResponse:
        return await routes.update_route(self._context, self._sending, current_caller(), request)

    async def RemoveRoute(self, request: pb.RemoveRouteRequest, context: _Call) -> pb.RemoveRouteResponse:
        return await routes.remove_route(self._context, self._sending, current_caller(), request)

    async def ListTransfers(
        self, request: pb.ListTransfersRequest, context: _Call
    ) -> pb.ListTransfersResponse:
        return await reading.list_transfers(self._context, current_caller(), request)

    async def GetTransfer(self, request: pb.GetTransferRequest, context: _Call) -> pb.GetTransferResponse:
        return await reading.get_transfer(self._context, current_caller(), request.transfer_id)

    async def RetryTransfers(
        self, request: pb.RetryTransfersRequest, context: _Call
    ) -> pb.RetryTransfersResponse:
        return await steering.retry(self._context, self._sending, current_caller(), request)

    async def CancelTransfers(
        self, request: pb.CancelTransfersRequest, context: _Call
    ) -> pb.CancelTransfersResponse:
        return await steering.cancel(self._context, self._sending, current_caller(), request)

    async def PrioritizeTransfers(
        self, request: pb.PrioritizeTransfersRequest, context: _Call
    ) -> pb.PrioritizeTransfersResponse:
        return await steering.prioritize(self._context, self._sending, current_caller(), request)

    async def GetTransferStatus(
        self, request: pb.GetTransferStatusRequest, context: _Call
    ) -> pb.GetTransferStatusResponse:
        return await reading.transfer_status(self._context, current_caller())

    async def ExplainDataset(
        self, request: pb.ExplainDatasetRequest, context: _Call
    ) -> pb.ExplainDatasetResponse:
        return await explaining.explain_dataset(self._context, current_caller(), request)

    def WatchTransfers(
        self, request: pb.WatchTransfersRequest, context: _Call
    ) -> AsyncIterator[pb.WatchTransfersResponse]:
        return watch_transfers(
            self._context, self._watchers, self._stopping, current_caller(), request.destination
        )
