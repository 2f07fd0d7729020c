"""What a reflection client learns at the gateway is enough to call every service, with no stubs at hand."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.gateway_site import CATALOG, Context, GatewaySite

from gateway.methods import PROXIED_METHODS
from librarian.api.catalog.v1.catalog_pb2 import Dataset, GetDatasetRequest, GetDatasetResponse

SERVICES = {
    "librarian.api.catalog.v1.CatalogService",
    "librarian.api.store.v1.StoreService",
    "librarian.api.transfer.v1.TransferService",
    "librarian.api.federation.v1.FederationService",
    "librarian.api.federation.v1.PairingService",
    "librarian.api.shipment.v1.ShipmentService",
    "librarian.api.gateway.v1.SiteService",
    "librarian.api.gateway.v1.PeerService",
}


class ReflectionClient:
    """As `buf curl` or `grpcurl` do it: everything learned over the wire."""

    def __init__(self, channel: Any) -> None:
        self._stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.pool = descriptor_pool.DescriptorPool()
        self._known: set[str] = set()

    async def ask(self, **question: str) -> Any:
        async def questions() -> Any:
            yield reflection_pb2.ServerReflectionRequest(**question)

        async for response in self._stub.ServerReflectionInfo(questions()):
            return response
        raise AssertionError("no answer")

    async def services(self) -> set[str]:
        response = await self.ask(list_services="")
        return {service.name for service in response.list_services_response.service}

    async def learn(self, symbol: str) -> None:
        response = await self.ask(file_containing_symbol=symbol)
        await self._add(response.file_descriptor_response.file_descriptor_proto)

    async def _add(self, files: list[bytes]) -> None:
        for data in files:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            if file.name in self._known:
                continue
            self._known.add(file.name)
            for dependency in file.dependency:
                response = await self.ask(file_by_filename=dependency)
                await self._add(response.file_descriptor_response.file_descriptor_proto)
            self.pool.Add(file)


async def test_every_service_is_listed_with_all_its_methods(site: GatewaySite) -> None:
    client = ReflectionClient(site.channel)
    assert await client.services() >= SERVICES | {"grpc.health.v1.Health"}
    paths = set()
    for service in SERVICES:
        await client.learn(service)
        found = client.pool.FindServiceByName(service)
        paths |= {f"/{service}/{method.name}" for method in found.methods}
    assert paths >= set(PROXIED_METHODS)


async def test_a_proxied_method_is_called_by_what_was_learned(site: GatewaySite) -> None:
    async def get_dataset(request: bytes, _context: Context) -> bytes:
        name = GetDatasetRequest.FromString(request).name
        return GetDatasetResponse(dataset=Dataset(name=name, size_bytes=7)).SerializeToString()

    site.catalog.on[CATALOG + "GetDataset"] = get_dataset
    client = ReflectionClient(site.channel)
    await client.learn("librarian.api.catalog.v1.CatalogService")
    method = client.pool.FindServiceByName("librarian.api.catalog.v1.CatalogService").methods_by_name[
        "GetDataset"
    ]
    request = message_factory.GetMessageClass(method.input_type)(name="a/b")
    answer = message_factory.GetMessageClass(method.output_type).FromString(
        await site.unary(CATALOG + "GetDataset", request.SerializeToString())
    )
    assert (answer.dataset.name, answer.dataset.size_bytes) == ("a/b", 7)


async def test_health_is_told_for_every_service_without_a_token(site: GatewaySite) -> None:
    stub = health_pb2_grpc.HealthStub(site.channel)
    for service in ("", *SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
