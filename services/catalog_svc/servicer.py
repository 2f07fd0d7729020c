"""CatalogService: from messages to use cases and back."""

# ruff: noqa: N802 - methods have the names of the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.catalog.v1 import catalog_pb2_grpc

from . import adding, copies, publishing, reading, recording, registering, reserving, summing, watching
from .context import Context
from .messages import fill_joined

Call = grpc.aio.ServicerContext[Any, Any]


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    def __init__(self, context: Context) -> None:
        self._context = context

    async def GetDataset(self, request: pb.GetDatasetRequest, _call: Call) -> pb.GetDatasetResponse:
        response = pb.GetDatasetResponse()
        fill_joined(response.dataset, await reading.get_dataset(self._context.database, request))
        return response

    async def BatchGetDatasets(
        self, request: pb.BatchGetDatasetsRequest, _call: Call
    ) -> pb.BatchGetDatasetsResponse:
        return await reading.batch_get(self._context.database, request)

    async def ListDatasets(self, request: pb.ListDatasetsRequest, _call: Call) -> pb.ListDatasetsResponse:
        return await reading.list_datasets(self._context.database, request)

    async def ListMembers(self, request: pb.ListMembersRequest, _call: Call) -> pb.ListMembersResponse:
        return await reading.list_members(self._context.database, request)

    async def RegisterDatasets(
        self, requests: AsyncIterator[pb.RegisterDatasetsRequest], _call: Call
    ) -> AsyncIterator[pb.RegisterDatasetsResponse]:
        async for response in registering.register(self._context, requests):
            yield response

    async def AddMembers(
        self, requests: AsyncIterator[pb.AddMembersRequest], _call: Call
    ) -> pb.AddMembersResponse:
        return pb.AddMembersResponse(member_count=await adding.add_members(self._context, requests))

    async def ReserveNames(self, request: pb.ReserveNamesRequest, _call: Call) -> pb.ReserveNamesResponse:
        return await reserving.reserve_names(self._context, request)

    async def PublishDatasets(
        self, request: pb.PublishDatasetsRequest, _call: Call
    ) -> pb.PublishDatasetsResponse:
        return await publishing.publish_datasets(self._context, request)

    async def UpdateReplicas(
        self, request: pb.UpdateReplicasRequest, _call: Call
    ) -> pb.UpdateReplicasResponse:
        return await copies.update_replicas(self._context, request)

    async def RecordReceipts(
        self, request: pb.RecordReceiptsRequest, _call: Call
    ) -> pb.RecordReceiptsResponse:
        return await recording.record_receipts(self._context, request)

    async def ListReceipts(self, request: pb.ListReceiptsRequest, _call: Call) -> pb.ListReceiptsResponse:
        return await recording.list_receipts(self._context, request)

    async def ListEvents(self, request: pb.ListEventsRequest, _call: Call) -> pb.ListEventsResponse:
        return await watching.list_events(self._context, request)

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, _call: Call
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        async for response in watching.watch_events(self._context, request):
            yield response

    async def GetSummary(self, _request: pb.GetSummaryRequest, _call: Call) -> pb.GetSummaryResponse:
        return await summing.get_summary(self._context)
