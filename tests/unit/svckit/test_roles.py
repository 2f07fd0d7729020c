"""The method -> role table covers what is served, and says what the contracts say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FileDescriptor

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.shipment.v1 import shipment_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from svckit.auth import Role
from svckit.roles import METHOD_ROLES, is_open

CLIENTS = frozenset(Role) - {Role.SERVICE, Role.PEER}
OPEN = {f"/librarian.api.federation.v1.PairingService/{name}" for name in ("Hello", "Join")}


def methods_of(*files: FileDescriptor) -> Iterator[str]:
    for file in files:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}"


SERVED = sorted(
    method
    for method in methods_of(
        catalog_pb2.DESCRIPTOR,
        federation_pb2.DESCRIPTOR,
        gateway_pb2.DESCRIPTOR,
        shipment_pb2.DESCRIPTOR,
        store_pb2.DESCRIPTOR,
        transfer_pb2.DESCRIPTOR,
    )
    if method not in OPEN
)
FOR_PEERS = {
    *(f"FederationService/{name}" for name in ("Offer", "Deliver", "GetBatch", "Withdraw", "ListReceipts")),
    *(f"FederationService/{name}" for name in ("AnnounceShipment", "ExchangeConsignments")),
    "PairingService/CheckIn",
    "StoreService/WriteUpload",
    "StoreService/GetUpload",
}
# Not for services: what belongs to people, and what only another site asks.
NOT_FOR_SERVICES = (
    "SiteService",
    "PeerService",
    "PairingService",
    "FederationService/ListReceipts",
    "FederationService/AnnounceShipment",
    "FederationService/ExchangeConsignments",
)


def test_every_rpc_has_its_roles_and_none_is_invented() -> None:
    assert sorted(METHOD_ROLES) == SERVED
    assert all(METHOD_ROLES.values())


def test_every_proto_package_is_looked_at() -> None:
    from pathlib import Path

    import librarian.api

    packages = {path.parent.parent.name for path in Path(librarian.api.__path__[0]).glob("*/v*/*_pb2.py")}
    assert packages == {"catalog", "common", "federation", "gateway", "shipment", "store", "transfer"}


def test_a_peer_may_what_is_listed_for_it_and_nothing_else() -> None:
    allowed = {method for method, roles in METHOD_ROLES.items() if Role.PEER in roles}
    assert {method.split(".v1.")[1] for method in allowed} == FOR_PEERS


@pytest.mark.parametrize("method", SERVED)
def test_more_role_is_never_less(method: str) -> None:
    ladder = [Role.READER, Role.INGESTER, Role.OPERATOR, Role.ADMIN]
    allowed = [role in METHOD_ROLES[method] for role in ladder]
    assert allowed == sorted(allowed)


@pytest.mark.parametrize(
    "method", [method for method in SERVED if not any(name in method for name in NOT_FOR_SERVICES)]
)
def test_services_may_call_all_but_what_is_for_people_and_peers(method: str) -> None:
    assert Role.SERVICE in METHOD_ROLES[method]


@pytest.mark.parametrize("name", ["IssueToken", "ListTokens", "RevokeToken"])
def test_tokens_are_for_admins_alone(name: str) -> None:
    assert METHOD_ROLES[f"/librarian.api.gateway.v1.SiteService/{name}"] == {Role.ADMIN}


@pytest.mark.parametrize(
    "method",
    [
        "/librarian.api.catalog.v1.CatalogService/RegisterDatasets",
        "/librarian.api.catalog.v1.CatalogService/ReserveNames",
        "/librarian.api.catalog.v1.CatalogService/PublishDatasets",
        "/librarian.api.store.v1.StoreService/CommitUploads",
        "/librarian.api.store.v1.StoreService/RevokeTickets",
    ],
)
def test_clients_never_publish(method: str) -> None:
    assert not METHOD_ROLES[method] & CLIENTS


def test_only_probes_reflection_and_the_start_of_a_session_are_open() -> None:
    assert is_open("/grpc.health.v1.Health/Check")
    assert is_open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert not any(is_open(method) for method in SERVED)
    assert all(is_open(method) for method in OPEN)
    assert not is_open("/grpc.health.v1.HealthX/Check")
