"""What is being built: answers UNIMPLEMENTED until it is there. Gone when all of it is."""

# ruff: noqa: N802, ARG002

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from librarian.api.federation.v1 import federation_pb2
from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceServicer
from librarian.api.shipment.v1 import shipment_pb2 as pb
from librarian.api.shipment.v1.shipment_pb2_grpc import ShipmentServiceServicer
from librarian.errors import Unimplemented

_Call = ServicerContext[Any, Any]


class PendingShipments(ShipmentServiceServicer):
    async def InitDisk(self, request: pb.InitDiskRequest, context: _Call) -> pb.InitDiskResponse:
        raise Unimplemented("InitDisk is not there yet")

    async def ListDisks(self, request: pb.ListDisksRequest, context: _Call) -> pb.ListDisksResponse:
        raise Unimplemented("ListDisks is not there yet")

    async def GetDisk(self, request: pb.GetDiskRequest, context: _Call) -> pb.GetDiskResponse:
        raise Unimplemented("GetDisk is not there yet")

    async def NoteDisk(self, request: pb.NoteDiskRequest, context: _Call) -> pb.NoteDiskResponse:
        raise Unimplemented("NoteDisk is not there yet")

    async def SyncDisk(self, request: pb.SyncDiskRequest, context: _Call) -> pb.SyncDiskResponse:
        raise Unimplemented("SyncDisk is not there yet")

    async def ReleaseDisk(self, request: pb.ReleaseDiskRequest, context: _Call) -> pb.ReleaseDiskResponse:
        raise Unimplemented("ReleaseDisk is not there yet")

    async def PackShipment(self, request: pb.PackShipmentRequest, context: _Call) -> pb.PackShipmentResponse:
        raise Unimplemented("PackShipment is not there yet")

    async def SealShipment(self, request: pb.SealShipmentRequest, context: _Call) -> pb.SealShipmentResponse:
        raise Unimplemented("SealShipment is not there yet")

    async def DepartShipment(
        self, request: pb.DepartShipmentRequest, context: _Call
    ) -> pb.DepartShipmentResponse:
        raise Unimplemented("DepartShipment is not there yet")

    async def ArriveShipment(
        self, request: pb.ArriveShipmentRequest, context: _Call
    ) -> pb.ArriveShipmentResponse:
        raise Unimplemented("ArriveShipment is not there yet")

    async def HandOverShipment(
        self, request: pb.HandOverShipmentRequest, context: _Call
    ) -> pb.HandOverShipmentResponse:
        raise Unimplemented("HandOverShipment is not there yet")

    async def ReadShipment(self, request: pb.ReadShipmentRequest, context: _Call) -> pb.ReadShipmentResponse:
        raise Unimplemented("ReadShipment is not there yet")

    async def ListShipments(
        self, request: pb.ListShipmentsRequest, context: _Call
    ) -> pb.ListShipmentsResponse:
        raise Unimplemented("ListShipments is not there yet")

    async def GetShipment(self, request: pb.GetShipmentRequest, context: _Call) -> pb.GetShipmentResponse:
        raise Unimplemented("GetShipment is not there yet")

    async def ListCargo(self, request: pb.ListCargoRequest, context: _Call) -> pb.ListCargoResponse:
        raise Unimplemented("ListCargo is not there yet")

    async def LoseShipment(self, request: pb.LoseShipmentRequest, context: _Call) -> pb.LoseShipmentResponse:
        raise Unimplemented("LoseShipment is not there yet")

    async def CancelShipment(
        self, request: pb.CancelShipmentRequest, context: _Call
    ) -> pb.CancelShipmentResponse:
        raise Unimplemented("CancelShipment is not there yet")

    def GetManifest(
        self, request: pb.GetManifestRequest, context: _Call
    ) -> AsyncIterator[pb.GetManifestResponse]:
        raise Unimplemented("GetManifest is not there yet")

    async def GetLabel(self, request: pb.GetLabelRequest, context: _Call) -> pb.GetLabelResponse:
        raise Unimplemented("GetLabel is not there yet")


class PendingFederation(FederationServiceServicer):
    async def AnnounceShipment(
        self, request_iterator: AsyncIterator[federation_pb2.AnnounceShipmentRequest], context: _Call
    ) -> federation_pb2.AnnounceShipmentResponse:
        raise Unimplemented("AnnounceShipment is not there yet")

    async def ExchangeConsignments(
        self, request: federation_pb2.ExchangeConsignmentsRequest, context: _Call
    ) -> federation_pb2.ExchangeConsignmentsResponse:
        raise Unimplemented("ExchangeConsignments is not there yet")
