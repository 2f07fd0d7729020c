"""What every client of a Librarian service sets on its channel, and the errors that come back."""

from __future__ import annotations

import json
from functools import cache

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from librarian.errors import LibrarianError, make_error

ERROR_DOMAIN = "librarian"
MAX_MESSAGE_BYTES = 16 << 20
KEEPALIVE_MS = 30_000

_SERVICES = {
    "librarian.api.catalog.v1.CatalogService": ("AddMembers", "RegisterDatasets", "WatchEvents"),
    "librarian.api.federation.v1.FederationService": ("AnnounceShipment",),
    "librarian.api.federation.v1.PairingService": (),
    "librarian.api.gateway.v1.SiteService": (),
    "librarian.api.gateway.v1.PeerService": (),
    "librarian.api.shipment.v1.ShipmentService": ("GetManifest",),
    "librarian.api.store.v1.StoreService": (
        "WriteUpload",
        "ReadManifest",
        "ReadDataset",
        "VerifyReplica",
        "AdoptTrees",
        "FindTrees",
        "ScanStore",
    ),
    "librarian.api.transfer.v1.TransferService": (
        "RegisterTrees",
        "VerifyReplicas",
        "ScanStore",
        "WatchTransfers",
    ),
}


def channel_options(*, http_proxy: bool = False) -> list[tuple[str, str | int]]:
    """For grpc.aio channels. gRPC would use `http_proxy` even for a loopback address: ask for it.

    A server must allow pings every 10 s (`grpc.http2.min_recv_ping_interval_without_data_ms`).
    """
    return [
        ("grpc.enable_http_proxy", int(http_proxy)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", service_config()),
    ]


@cache
def service_config() -> str:
    """Retries of UNAVAILABLE on unary calls: every one of ours can be done twice. Streams resume in a
    layer of their own, and retrying them here would keep their first bytes in memory.
    """
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    streams = [
        {"service": service, "method": method} for service, methods in _SERVICES.items() for method in methods
    ]
    return json.dumps(
        {
            "methodConfig": [
                {"name": [{"service": service} for service in _SERVICES], "retryPolicy": retry},
                {"name": streams},
            ]
        }
    )


def error_from_rpc(error: grpc.aio.AioRpcError) -> LibrarianError:
    """The error a service raised, as the class it was; by status code where it says no reason."""
    code = error.code().value[0]
    reason, metadata = "", dict[str, str]()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            reason, metadata = _error_info(value)
    found = make_error(code, reason, error.details() or error.code().name, metadata)
    if not reason:
        del found.metadata["reason"]
    return found


def _error_info(details: bytes) -> tuple[str, dict[str, str]]:
    try:
        status = status_pb2.Status.FromString(details)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                return info.reason, dict(info.metadata)
    except DecodeError:
        return "", {}
    return "", {}
