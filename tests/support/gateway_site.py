"""A gateway in this process on a real PostgreSQL, and services behind it whose every method a test writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from gateway.app import build
from gateway.methods import PROXIED_METHODS
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.gateway.v1.gateway_pb2_grpc import SiteServiceStub
from librarian.rpc import channel_options
from standalone.toml import dump_toml
from support.eventually import eventually
from svckit.auth import Caller, Verifier
from svckit.clock import Clock
from svckit.keys import ensure_keys
from svckit.server import Runtime, serving
from svckit.settings import settings_from

CATALOG = "/librarian.api.catalog.v1.CatalogService/"
STORE = "/librarian.api.store.v1.StoreService/"
TRANSFER = "/librarian.api.transfer.v1.TransferService/"

Pairs = Sequence[tuple[str, str | bytes]]
Context = grpc.aio.ServicerContext[bytes, bytes]
MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


@dataclass(frozen=True)
class Seen:
    """A call as it reached a fake service; `caller` by its service token."""

    method: str
    metadata: Mapping[str, str | bytes]
    caller: Caller


class FakeService(grpc.GenericRpcHandler):
    """Bytes in, bytes out. `on[path]` is the behaviour of a method; others answer UNIMPLEMENTED."""

    def __init__(self, address: str, verifier: Verifier) -> None:
        self.address = address
        self.on: dict[str, Callable[..., Any]] = {}
        self.seen: list[Seen] = []
        self.health = HealthServicer()
        self._verifier = verifier
        self._server: grpc.aio.Server | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path not in self.on:
            return None
        method = PROXIED_METHODS[path]

        async def serve(request: Any, context: Context) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            token = str(metadata["authorization"]).removeprefix("Bearer ")
            self.seen.append(Seen(path, metadata, self._verifier.verify(token)))
            return await self.on[path](request, context)

        return MAKERS[method.client_streaming, method.server_streaming](serve)

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
        self._server.add_generic_rpc_handlers((self,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


@dataclass
class GatewaySite:
    """What a test talks to. `admin`: the secret of the first start."""

    runtime: Runtime
    folder: Path
    process: psutil.Process
    catalog: FakeService
    transfer: FakeService
    stores: dict[str, FakeService]
    admin: str
    channel: grpc.aio.Channel

    @property
    def site(self) -> Any:
        return SiteServiceStub(self.channel)

    async def issue(
        self, role: pb.Role.ValueType = pb.ROLE_ADMIN, *, prefix: str = "", lifetime: int = 0
    ) -> pb.IssueTokenResponse:
        request = pb.IssueTokenRequest(
            request_id=str(uuid.uuid4()),
            subject="someone",
            role=role,
            name_prefix=prefix,
            lifetime_seconds=lifetime,
        )
        response: pb.IssueTokenResponse = await self.site.IssueToken(request, metadata=bearer(self.admin))
        return response

    async def revoke(self, token_id: str) -> pb.RevokeTokenResponse:
        request = pb.RevokeTokenRequest(request_id=str(uuid.uuid4()), token_id=token_id)
        response: pb.RevokeTokenResponse = await self.site.RevokeToken(request, metadata=bearer(self.admin))
        return response

    def unary(self, path: str, request: bytes = b"", **options: Any) -> Any:
        """`secret` (else the admin's) and `extra` metadata may be given, and what gRPC takes."""
        return self.channel.unary_unary(path)(request, **self._as(**options))

    def down(self, path: str, request: bytes = b"", **options: Any) -> Any:
        return self.channel.unary_stream(path)(request, **self._as(**options))

    def up(self, path: str, **options: Any) -> Any:
        return self.channel.stream_unary(path)(**self._as(**options))

    def _as(self, *, secret: str = "", extra: Pairs = (), **options: Any) -> dict[str, Any]:
        return {"metadata": bearer(secret or self.admin, extra), **options}


def bearer(secret: str, extra: Pairs = ()) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {secret}"), *extra]


def settings_values(folder: Path, dsn: str, stores: Sequence[str]) -> dict[str, Any]:
    """The content of a settings file for a gateway on a port of its own."""
    return {
        "site": {"name": "chajnantor"},
        "database": {"dsn": dsn, "pool_size": 4},
        "auth": {"keys_dir": str(folder / "keys"), "site_key_file": str(folder / "keys" / "site.key")},
        "server": {"drain_seconds": 0, "grace_seconds": 0.2},
        "gateway": {
            "listen": "127.0.0.1:0",
            "address_file": str(folder / "address"),
            "admin_token_file": str(folder / "admin.token"),
        },
        "services": {
            "catalog": f"unix:{folder}/catalog.sock",
            "transfer": f"unix:{folder}/transfer.sock",
            "stores": {name: f"unix:{folder}/store-{name}.sock" for name in stores},
        },
    }


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    try:
        ensure_keys(folder / "keys", ("gateway", "transfer", "worker", "site"))
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def gateway_site(
    dsn: str,
    *,
    stores: Sequence[str] = ("fast",),
    folder: Path | None = None,
    in_process: bool = True,
    name: str = "chajnantor",
    clock: Clock | None = None,
    **gateway: Any,
) -> AsyncIterator[GatewaySite]:
    """All of it running, the fake services included; `gateway`: more of that section of the settings.

    With a `folder` of an earlier one it is that gateway again. In a process of its own its log is at
    <folder>/log.
    """
    async with AsyncExitStack() as stack:
        folder = folder or await stack.enter_async_context(short_folder())
        values = settings_values(folder, dsn, stores)
        values["site"]["name"] = name
        values["gateway"].update(gateway)
        settings = settings_from(values)

        async def fake(address: str, audience: str) -> FakeService:
            verifier = Verifier.load(folder / "keys", audience, clock=clock)
            service = FakeService(address, verifier)
            await service.start()
            stack.push_async_callback(service.stop)
            return service

        catalog = await fake(settings.services.catalog, "catalog")
        transfer = await fake(settings.services.transfer, "transfer")
        fakes = {name: await fake(address, "store") for name, address in settings.services.stores.items()}
        runtime = Runtime("gateway", settings, clock=clock)
        (folder / "address").unlink(missing_ok=True)
        if in_process:
            await stack.enter_async_context(serving(runtime, build))
            process = psutil.Process()
        else:
            process = await stack.enter_async_context(_gateway_process(folder, values))
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(
                (folder / "address").read_text().strip(),
                options=[*channel_options(), ("grpc.enable_retries", 0)],
            )
        )
        admin = (folder / "admin.token").read_text().strip()
        yield GatewaySite(runtime, folder, process, catalog, transfer, fakes, admin, channel)


@asynccontextmanager
async def _gateway_process(folder: Path, values: dict[str, Any]) -> AsyncIterator[psutil.Process]:
    (folder / "site.toml").write_text(dump_toml(values))
    command = (sys.executable, "-m", "gateway", "--config", str(folder / "site.toml"))
    with (folder / "log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(*command, stderr=log, env=_environment())
    try:
        await eventually((folder / "address").exists, what="the gateway's address file")
        yield psutil.Process(child.pid)
        if child.returncode is None:
            child.terminate()
            code = await asyncio.wait_for(child.wait(), 10)
            assert code == 0, f"the gateway ended with {code}"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("LIBRARIAN_")}
