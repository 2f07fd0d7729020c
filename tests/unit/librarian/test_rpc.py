from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from librarian import rpc
from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.shipment.v1 import shipment_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import InternalError, LibrarianError, NameTaken, TokenRevoked, Unavailable


def rpc_error(code: grpc.StatusCode, message: str, details: bytes | None) -> grpc.aio.AioRpcError:
    trailing = [("x-other", "1")] if details is None else [("grpc-status-details-bin", details)]
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), message)


def status(reason: str, metadata: dict[str, str], *, domain: str = "librarian") -> bytes:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
    first, second = any_pb2.Any(), any_pb2.Any()
    first.Pack(error_details_pb2.RetryInfo())
    second.Pack(info)
    return status_pb2.Status(details=[first, second]).SerializeToString()


def test_an_error_of_ours_is_the_class_it_was() -> None:
    details = status("NAME_TAKEN", {"remedy": "choose", "name": "a/b"})
    error = rpc.error_from_rpc(rpc_error(grpc.StatusCode.ALREADY_EXISTS, "taken", details))
    assert type(error) is NameTaken
    assert (error.message, error.remedy, error.metadata) == ("taken", "choose", {"name": "a/b"})


def test_a_newer_reason_keeps_its_name() -> None:
    error = rpc.error_from_rpc(rpc_error(grpc.StatusCode.UNAUTHENTICATED, "no", status("NEWER", {})))
    assert error.code == TokenRevoked.code
    assert error.metadata == {"reason": "NEWER"}


@pytest.mark.parametrize("details", [None, b"\xff\xff\xff", status("NAME_TAKEN", {}, domain="other.example")])
def test_an_error_of_someone_else_goes_by_its_code(details: bytes | None) -> None:
    error = rpc.error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused", details))
    assert type(error) is Unavailable
    assert (error.message, error.metadata) == ("connection refused", {})
    assert error.remedy == Unavailable.default_remedy


def test_every_code_has_a_class() -> None:
    for code in grpc.StatusCode:
        error = rpc.error_from_rpc(rpc_error(code, "", None))
        assert isinstance(error, LibrarianError)
        assert error.message
    assert type(rpc.error_from_rpc(rpc_error(grpc.StatusCode.INTERNAL, "x", None))) is InternalError


def test_unary_calls_are_retried_and_streams_are_not() -> None:
    """The retried services and the streams named in the configuration are those of the protocol."""
    unary, streams = json.loads(rpc.service_config())["methodConfig"]
    assert "retryPolicy" in unary
    assert "retryPolicy" not in streams
    services = [
        service
        for module in (catalog_pb2, federation_pb2, gateway_pb2, shipment_pb2, store_pb2, transfer_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    assert {name["service"] for name in unary["name"]} == {service.full_name for service in services}
    assert {(name["service"], name["method"]) for name in streams["name"]} == {
        (service.full_name, method.name)
        for service in services
        for method in service.methods
        if method.client_streaming or method.server_streaming
    }


async def test_grpc_takes_the_options() -> None:
    for http_proxy in (False, True):
        options = rpc.channel_options(http_proxy=http_proxy)
        assert dict(options)["grpc.enable_http_proxy"] == http_proxy
        async with grpc.aio.insecure_channel("unix:/nonexistent", options=options) as channel:
            call = channel.unary_unary("/librarian.api.catalog.v1.CatalogService/GetDataset")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", timeout=10)
    assert type(rpc.error_from_rpc(caught.value)) is Unavailable
