"""The method -> role table covers what is served, and says what the contracts say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FileDescriptor

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from svckit.auth import Role
from svckit.roles import METHOD_ROLES, is_open

CLIENTS = frozenset(Role) - {Role.SERVICE}


def methods_of(*files: FileDescriptor) -> Iterator[str]:
    for file in files:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}"


SERVED = sorted(
    methods_of(catalog_pb2.DESCRIPTOR, gateway_pb2.DESCRIPTOR, store_pb2.DESCRIPTOR, transfer_pb2.DESCRIPTOR)
)


def test_every_rpc_has_its_roles_and_none_is_invented() -> None:
    assert sorted(METHOD_ROLES) == SERVED
    assert all(METHOD_ROLES.values())


def test_every_proto_package_is_looked_at() -> None:
    from pathlib import Path

    import librarian.api

    packages = {path.parent.parent.name for path in Path(librarian.api.__path__[0]).glob("*/v*/*_pb2.py")}
    assert packages == {"catalog", "common", "gateway", "store", "transfer"}


@pytest.mark.parametrize("method", SERVED)
def test_more_role_is_never_less(method: str) -> None:
    ladder = [Role.READER, Role.INGESTER, Role.OPERATOR, Role.ADMIN]
    allowed = [role in METHOD_ROLES[method] for role in ladder]
    assert allowed == sorted(allowed)


@pytest.mark.parametrize("method", [method for method in SERVED if "SiteService" not in method])
def test_services_may_call_all_but_token_management(method: str) -> None:
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


def test_only_probes_and_reflection_are_open() -> None:
    assert is_open("/grpc.health.v1.Health/Check")
    assert is_open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert not any(is_open(method) for method in SERVED)
    assert not is_open("/grpc.health.v1.HealthX/Check")
