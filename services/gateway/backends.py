"""The services behind the gateway: a channel to each, and the words for when one does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from gateway.metadata import has_status_details
from librarian.errors import InvalidConfig, LibrarianError, Unavailable
from librarian.rpc import MAX_MESSAGE_BYTES, error_from_rpc
from svckit.channels import CONNECT_MS
from svckit.sections import ServicesSettings

# A service that was restarted is found again within about a second.
_RECONNECT_MS = 100
_MAX_RECONNECT_MS = 1000
# Status details travel in trailers; ours stay below 8 KiB, other people's may not.
_METADATA_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Backend:
    """One service process. `title`: what people call it; `audience`: whom its tokens are made for."""

    title: str
    audience: str
    channel: grpc.aio.Channel

    def no_answer(self) -> Unavailable:
        """The error for a service that is not there, or went away in the middle of a call."""
        return Unavailable(
            f"the {self.title} does not answer",
            remedy=f"try again in a moment; if it lasts, start the {self.title} and read its log "
            "(`librarian status` tells how all services are)",
            service=self.title,
        )

    def error_of(self, error: grpc.aio.AioRpcError) -> LibrarianError:
        """Our error for a call of the gateway's own that failed."""
        if wire_broke(error) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self.no_answer()
        return error_from_rpc(error)


@dataclass(frozen=True, slots=True)
class Backends:
    """`stores` by the name each store service has in the settings."""

    catalog: Backend
    transfer: Backend
    stores: Mapping[str, Backend]

    def __iter__(self) -> Iterator[Backend]:
        yield from (self.catalog, self.transfer, *self.stores.values())


def wire_broke(error: grpc.aio.AioRpcError) -> bool:
    """Whether gRPC itself says UNAVAILABLE, rather than a service, which would give details."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and not has_status_details(error.trailing_metadata())


@asynccontextmanager
async def open_backends(services: ServicesSettings) -> AsyncIterator[Backends]:
    """Channels to all services of the settings; they connect when first used, and again after a break.
    Raises InvalidConfig where an address is missing.
    """
    for key in ("catalog", "transfer"):
        if not getattr(services, key):
            raise InvalidConfig(f"config: services.{key} is not set", key=f"services.{key}")
    backends = Backends(
        catalog=Backend("catalog service", "catalog", _channel(services.catalog)),
        transfer=Backend("transfer service", "transfer", _channel(services.transfer)),
        stores={
            name: Backend(f"store service {name}", "store", _channel(address))
            for name, address in sorted(services.stores.items())
        },
    )
    try:
        yield backends
    finally:
        for backend in backends:
            await backend.channel.close()


def _channel(address: str) -> grpc.aio.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.enable_http_proxy", 0),
        # The client's channel retries. A second layer would multiply the attempts.
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    return grpc.aio.insecure_channel(address, options=options)
