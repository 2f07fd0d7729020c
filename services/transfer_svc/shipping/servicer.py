"""ShipmentService over the wire: message to values, one call, values to message."""

# gRPC names the methods, and gives each a context.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import asyncio
from typing import Any

from grpc.aio import ServicerContext

from librarian.api.shipment.v1 import shipment_pb2 as pb
from transfer_svc.context import Context
from transfer_svc.shipping import jobs
from transfer_svc.shipping.pending import PendingShipments
from transfer_svc.waiting import Waiting

_Call = ServicerContext[Any, Any]


class ShipmentServicer(PendingShipments):
    """`stopping` is set when the process is told to end: waits end then."""

    def __init__(self, context: Context, waiting: Waiting, stopping: asyncio.Event) -> None:
        self._context = context
        self._waiting = waiting
        self._stopping = stopping

    async def WaitJobs(self, request: pb.WaitJobsRequest, context: _Call) -> pb.WaitJobsResponse:
        found = await jobs.wait_jobs(self._context, self._waiting, self._stopping, request)
        return pb.WaitJobsResponse(jobs=found)

    async def CancelJobs(self, request: pb.CancelJobsRequest, context: _Call) -> pb.CancelJobsResponse:
        return pb.CancelJobsResponse(jobs=await jobs.cancel_jobs(self._context, request.job_ids))
