"""TransferService over the wire: message to values, one call, values to message."""

# gRPC names the methods, and gives each a context.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import current_caller
from transfer_svc import begin, handover, reading
from transfer_svc.context import Context
from transfer_svc.messages import ingest_to_proto, ingest_verdicts
from transfer_svc.origins import Origins
from transfer_svc.receiving.listing import list_deliveries
from transfer_svc.receiving.peers import put_peers
from transfer_svc.registering import register_trees
from transfer_svc.scanning import scan_store
from transfer_svc.sending.means import SendingChannels
from transfer_svc.sending.servicer import SendingServicer
from transfer_svc.sending.watching import Watchers
from transfer_svc.verifying import verify_replicas
from transfer_svc.waiting import Waiting

_Call = ServicerContext[Any, Any]


class TransferServicer(SendingServicer):
    """`stopping` is set when the process is told to end: waits end then."""

    def __init__(
        self,
        context: Context,
        waiting: Waiting,
        origins: Origins,
        stopping: asyncio.Event,
        channels: SendingChannels,
        watchers: Watchers,
    ) -> None:
        super().__init__(context, stopping, channels, watchers)
        self._context = context
        self._waiting = waiting
        self._origins = origins
        self._stopping = stopping

    async def BeginIngests(self, request: pb.BeginIngestsRequest, context: _Call) -> pb.BeginIngestsResponse:
        return await begin.begin_ingests(self._context, current_caller(), request)

    async def CommitIngests(
        self, request: pb.CommitIngestsRequest, context: _Call
    ) -> pb.CommitIngestsResponse:
        return await handover.commit_ingests(self._context, current_caller(), request)

    async def WaitIngests(self, request: pb.WaitIngestsRequest, context: _Call) -> pb.WaitIngestsResponse:
        ids = list(request.ingest_ids)
        found = await reading.wait_ingests(
            self._context, self._waiting, self._stopping, current_caller(), ids, request.timeout_ms
        )
        return pb.WaitIngestsResponse(verdicts=ingest_verdicts(ids, found))

    async def GetIngest(self, request: pb.GetIngestRequest, context: _Call) -> pb.GetIngestResponse:
        found = await reading.get_ingest(self._context, current_caller(), request.ingest_id)
        return pb.GetIngestResponse(ingest=ingest_to_proto(found))

    async def ListIngests(self, request: pb.ListIngestsRequest, context: _Call) -> pb.ListIngestsResponse:
        page, token = await reading.list_ingests(
            self._context,
            current_caller(),
            states=list(request.states),
            size=request.page_size,
            token=request.page_token,
        )
        return pb.ListIngestsResponse(ingests=[ingest_to_proto(each) for each in page], next_page_token=token)

    async def AbortIngests(self, request: pb.AbortIngestsRequest, context: _Call) -> pb.AbortIngestsResponse:
        return await handover.abort_ingests(self._context, current_caller(), request)

    def RegisterTrees(
        self, request: pb.RegisterTreesRequest, context: _Call
    ) -> AsyncIterator[pb.RegisterTreesResponse]:
        return register_trees(self._context, self._origins, current_caller(), request)

    def VerifyReplicas(
        self, request: pb.VerifyReplicasRequest, context: _Call
    ) -> AsyncIterator[pb.VerifyReplicasResponse]:
        return verify_replicas(self._context, current_caller(), request)

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: _Call
    ) -> pb.ListDeliveriesResponse:
        return await list_deliveries(self._context, current_caller(), request)

    async def PutPeers(self, request: pb.PutPeersRequest, context: _Call) -> pb.PutPeersResponse:
        return await put_peers(self._context, request)

    def ScanStore(self, request: pb.ScanStoreRequest, context: _Call) -> AsyncIterator[pb.ScanStoreResponse]:
        return scan_store(self._context, current_caller(), request.store)
