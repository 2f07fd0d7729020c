"""Every RPC a client can ask the gateway for, as the protos tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.shipment.v1 import shipment_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2

PROXIED_FILES: tuple[FileDescriptor, ...] = (
    catalog_pb2.DESCRIPTOR,
    federation_pb2.DESCRIPTOR,
    shipment_pb2.DESCRIPTOR,
    store_pb2.DESCRIPTOR,
    transfer_pb2.DESCRIPTOR,
)

CATALOG_SERVICE = "librarian.api.catalog.v1.CatalogService"
STORE_SERVICE = "librarian.api.store.v1.StoreService"
TRANSFER_SERVICE = "librarian.api.transfer.v1.TransferService"
SHIPMENT_SERVICE = "librarian.api.shipment.v1.ShipmentService"
FEDERATION_SERVICE = "librarian.api.federation.v1.FederationService"

LIST_STORES = f"/{STORE_SERVICE}/ListStores"
ADD_STORE = f"/{STORE_SERVICE}/AddStore"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: its path on the wire and which sides stream."""

    path: str
    service: str
    client_streaming: bool
    server_streaming: bool


def methods_of(files: Iterable[FileDescriptor]) -> dict[str, Method]:
    """The RPCs of these files by path ("/package.Service/Method")."""
    found: dict[str, Method] = {}
    for file in files:
        for service in file.services_by_name.values():
            for rpc in service.methods:
                path = f"/{service.full_name}/{rpc.name}"
                found[path] = Method(path, service.full_name, rpc.client_streaming, rpc.server_streaming)
    return found


# Of the federation's services the gateway answers PairingService itself.
PROXIED_SERVICES = (
    CATALOG_SERVICE,
    STORE_SERVICE,
    TRANSFER_SERVICE,
    SHIPMENT_SERVICE,
    FEDERATION_SERVICE,
)
PROXIED_METHODS: dict[str, Method] = {
    path: method for path, method in methods_of(PROXIED_FILES).items() if method.service in PROXIED_SERVICES
}
