"""FederationService over the wire: message to values, one call, values to message."""

# gRPC names the methods, and gives each a context.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import asyncio
from typing import Any

from grpc.aio import ServicerContext

from librarian.api.federation.v1 import federation_pb2 as pb
from svckit.auth import current_caller
from svckit.sitekeys import SiteKeys
from transfer_svc.context import Context
from transfer_svc.receiving import delivering
from transfer_svc.receiving.offering import offer
from transfer_svc.receiving.relaying import list_receipts
from transfer_svc.shipping.pending import PendingFederation
from transfer_svc.waiting import Waiting

_Call = ServicerContext[Any, Any]


class FederationServicer(PendingFederation):
    """`stopping` is set when the process is told to end: waits end then."""

    def __init__(
        self, context: Context, waiting: Waiting, site_keys: SiteKeys, stopping: asyncio.Event
    ) -> None:
        self._context = context
        self._waiting = waiting
        self._site_keys = site_keys
        self._stopping = stopping

    async def Offer(self, request: pb.OfferRequest, context: _Call) -> pb.OfferResponse:
        return await offer(self._context, self._site_keys, current_caller(), request)

    async def Deliver(self, request: pb.DeliverRequest, context: _Call) -> pb.DeliverResponse:
        found = await delivering.deliver(self._context, current_caller(), request)
        return pb.DeliverResponse(deliveries=found)

    async def GetBatch(self, request: pb.GetBatchRequest, context: _Call) -> pb.GetBatchResponse:
        found = await delivering.get_batch(
            self._context, self._waiting, self._stopping, current_caller(), request
        )
        return pb.GetBatchResponse(deliveries=found)

    async def Withdraw(self, request: pb.WithdrawRequest, context: _Call) -> pb.WithdrawResponse:
        found = await delivering.withdraw(self._context, current_caller(), request)
        return pb.WithdrawResponse(deliveries=found)

    async def ListReceipts(self, request: pb.ListReceiptsRequest, context: _Call) -> pb.ListReceiptsResponse:
        return await list_receipts(self._context, self._site_keys, current_caller(), request)
