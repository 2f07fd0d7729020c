"""The table of proxied methods against the protos and the table of roles."""

from __future__ import annotations

from gateway.methods import ADD_STORE, LIST_STORES, PROXIED_METHODS, PROXIED_SERVICES, methods_of
from librarian.api.federation.v1 import federation_pb2
from librarian.api.gateway.v1 import gateway_pb2
from svckit.roles import METHOD_ROLES, OPEN_METHODS


def test_every_method_has_its_roles_and_every_role_its_method() -> None:
    own = methods_of([gateway_pb2.DESCRIPTOR, federation_pb2.DESCRIPTOR])
    assert set(PROXIED_METHODS) | set(own) == set(METHOD_ROLES) | OPEN_METHODS


def test_kinds_are_those_of_the_protos() -> None:
    kinds = {
        path.rpartition("/")[2]: (method.client_streaming, method.server_streaming)
        for path, method in PROXIED_METHODS.items()
    }
    assert kinds["GetDataset"] == (False, False)
    assert kinds["ReadDataset"] == (False, True)
    assert kinds["WriteUpload"] == (True, False)
    assert kinds["RegisterDatasets"] == (True, True)


def test_services_are_those_of_the_methods() -> None:
    assert {method.service for method in PROXIED_METHODS.values()} == set(PROXIED_SERVICES)
    assert {LIST_STORES, ADD_STORE} <= set(PROXIED_METHODS)
