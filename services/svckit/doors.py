"""A door: one listening address with what is served there, behind one guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from librarian.errors import InvalidConfig
from svckit.addresses import prepare_socket, split_host_port, unix_path
from svckit.guard import Guard
from svckit.sections import ServerSettings

KEEPALIVE_MS = 30_000
_METADATA_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServicerRegistration:
    """`services`: full names, for health and reflection. `add` puts their handlers on a server:
    `lambda server: add_CatalogServiceServicer_to_server(servicer, server)`.
    """

    services: tuple[str, ...]
    add: Callable[[Any], None]


class Door:
    """Bound at once, so that its address is known; serves from `start` on."""

    def __init__(
        self,
        name: str,
        listen: str,
        guard: Guard,
        settings: ServerSettings,
        *,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.name = name
        self.guard = guard
        self._health = health.aio.HealthServicer()
        self._services: list[str] = []
        self._server = grpc.aio.server(
            options=_options(settings), maximum_concurrent_rpcs=settings.max_concurrent_calls
        )
        self._socket = unix_path(listen)
        self.address = self._bind(listen, credentials)

    def add(self, registration: ServicerRegistration) -> None:
        """Before `start`."""
        registration.add(_GuardedServer(self._server, self.guard))
        self._services += registration.services

    async def start(self) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [
                *self._services,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            ],
            self._server,
        )
        await self._server.start()
        for service in ("", *self._services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def refuse_probes(self) -> None:
        """Say NOT_SERVING from now on; calls are still served."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """No new calls; those under way have `grace` seconds."""
        await self._server.stop(grace)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    def _bind(self, listen: str, credentials: grpc.ServerCredentials | None) -> str:
        if self._socket is not None:
            prepare_socket(self._socket)
        else:
            host, _ = split_host_port(listen)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise InvalidConfig(
                f"config: {self.name} cannot listen on {listen}",
                remedy="is the address in use, or another host's?",
                address=listen,
            ) from error
        if self._socket is not None:
            return listen
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _GuardedServer:
    """Stands in for the server while a servicer is added, and puts the guard around each handler."""

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers([_GuardedHandler(each, self._guard) for each in handlers])

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        wrapped = {
            name: self._guard.wrap(f"/{service_name}/{name}", handler)
            for name, handler in method_handlers.items()
        }
        self._server.add_registered_method_handlers(service_name, wrapped)


class _GuardedHandler(grpc.GenericRpcHandler):
    """Wraps what the inner handler finds, once a method; those nobody has a role for are refused."""

    def __init__(self, inner: grpc.GenericRpcHandler, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard
        self._wrapped: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        found = self._wrapped.get(method)
        if found is None:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            if not self._guard.knows(method):
                return self._guard.refusing(method)
            found = self._wrapped[method] = self._guard.wrap(method, handler)
        return found


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        # Two processes on one port would each get half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
