"""The port around the service: probes, reflection, metrics, start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.catalog.v1 import catalog_pb2_grpc as rpc
from librarian.errors import AlreadyRunning, InvalidConfig, TokenMissing
from svckit.auth import Caller, Role
from svckit.guard import CallMetadata
from svckit.server import Runtime, ServicerRegistration, serving
from svckit.settings import settings_from

CATALOG = "librarian.api.catalog.v1.CatalogService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", CATALOG])
async def test_health_of_every_service_name_without_a_token(site: Any, service: str) -> None:
    async with grpc.aio.insecure_channel(site.runtime.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_and_describes_without_a_token(site: Any) -> None:
    async with grpc.aio.insecure_channel(site.runtime.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(
            iter(
                [
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=CATALOG),
                ]
            )
        )
        listed, described = [answer async for answer in call]
    names = {service.name for service in listed.list_services_response.service}
    assert {CATALOG, "grpc.health.v1.Health"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_method_nobody_serves_is_unimplemented(site: Any) -> None:
    async with grpc.aio.insecure_channel(site.runtime.address) as channel:
        call = channel.unary_unary("/librarian.api.catalog.v1.CatalogService/DropAll")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", metadata=site.metadata(Role.ADMIN))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_metrics_and_healthz(site: Any) -> None:
    async with site.channels() as channels:
        await channels.catalog.GetDataset(pb.GetDatasetRequest(name="x"))
    base = f"http://{site.runtime.metrics_address}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/metrics") as response:
            text = await response.text()
            assert response.headers["Content-Type"].startswith("text/plain")
        assert f'librarian_rpc_seconds_count{{code="OK",method="GetDataset",service="{CATALOG}"}} 1.0' in text
        assert "process_resident_memory_bytes" in text
        async with session.get(f"{base}/healthz") as response:
            assert (response.status, await response.text()) == (200, "serving\n")
        async with session.get(f"{base}/other") as response:
            assert response.status == 404


async def test_metrics_on_a_socket(open_site: Any, directory: Path) -> None:
    path = directory / "metrics.sock"
    listen = {"listen": f"unix:{directory}/catalog.sock", "metrics_listen": f"unix:{path}"}
    async with open_site(catalog=listen) as site:
        assert site.runtime.metrics_address == f"unix:{path}"
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get("http://x/metrics") as response,
        ):
            assert response.status == 200


async def test_stopping_lets_calls_end_and_takes_no_new_ones(open_site: Any) -> None:
    """NOT_SERVING is told first; a call under way ends well; then the port is closed."""
    opened = open_site(server={"drain_seconds": 0.3, "grace_seconds": 5.0})
    site = await opened.__aenter__()
    async with grpc.aio.insecure_channel(site.runtime.address) as channel, site.channels() as channels:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=CATALOG))
        assert (await watch.read()).status == SERVING
        waiting = asyncio.create_task(channels.catalog.GetDataset(pb.GetDatasetRequest(name="wait")))
        await site.servicer.entered.wait()
        stop = asyncio.create_task(opened.__aexit__(None, None, None))
        assert (await watch.read()).status == NOT_SERVING
        assert site.runtime.stopping.is_set()
        # Draining: calls are still taken, for those that have not read the news yet.
        await channels.catalog.GetDataset(pb.GetDatasetRequest(name="late"))
        assert not stop.done()
        watch.cancel()
        site.servicer.go_on.set()
        assert (await waiting).dataset.name == "wait"
        await asyncio.wait_for(stop, 5)
    assert not (site.directory / "catalog.sock").exists()


async def test_a_call_that_does_not_end_is_cut_after_the_grace(open_site: Any) -> None:
    async with open_site(server={"drain_seconds": 0.0, "grace_seconds": 0.2}) as site:
        channels = site.channels()
        stream = aiter(channels.catalog.WatchEvents(pb.WatchEventsRequest(after=pb.EventCursor(sequence=1))))
        await anext(stream)
        await site.servicer.entered.wait()
    assert site.servicer.left.is_set()
    await channels.__aexit__()


async def test_two_do_not_share_a_socket(site: Any, open_site: Any) -> None:
    with pytest.raises(AlreadyRunning):
        async with open_site():
            pass
    async with site.channels() as channels:
        await channels.catalog.GetDataset(pb.GetDatasetRequest(name="x"))


async def test_two_do_not_share_a_port(open_site: Any, directory: Path) -> None:
    async with open_site(catalog={"listen": "127.0.0.1:0"}) as first:
        assert first.runtime.address.startswith("127.0.0.1:")
        with pytest.raises(InvalidConfig, match="cannot listen on"):
            async with open_site(catalog={"listen": first.runtime.address}):
                pass


async def test_metrics_on_a_taken_port_are_told(site: Any, open_site: Any, directory: Path) -> None:
    taken = {"listen": f"unix:{directory}/b.sock", "metrics_listen": site.runtime.metrics_address}
    with pytest.raises(InvalidConfig, match="metrics cannot be served on"):
        async with open_site(catalog=taken):
            pass


async def test_a_service_without_keys_does_not_start(open_site: Any) -> None:
    with pytest.raises(InvalidConfig, match=r"auth\.keys_dir is not set"):
        async with open_site(auth={"keys_dir": ""}):
            pass


async def test_a_service_nobody_could_call_does_not_start(open_site: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="holds no public keys"):
        async with open_site(auth={"keys_dir": str(tmp_path)}):
            pass


async def test_a_door_of_its_own_with_its_own_callers(directory: Path) -> None:
    """As the gateway and the store's data door do it."""
    served: list[str] = []

    class Servicer(rpc.CatalogServiceServicer):
        async def GetSummary(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - as the stub says
            served.append("GetSummary")
            return pb.GetSummaryResponse()

    async def authenticate(metadata: CallMetadata, method: str) -> Caller:
        assert method.endswith("/GetSummary")
        if metadata.get("librarian-ticket") != "good":
            raise TokenMissing("no ticket")
        return Caller("ticket", Role.READER)

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        door = runtime.open_door("data", "127.0.0.1:0", authenticate=authenticate)
        assert int(door.address.rpartition(":")[2]) > 0  # known before anything is served
        add = rpc.add_CatalogServiceServicer_to_server
        door.add(ServicerRegistration((CATALOG,), lambda server: add(Servicer(), server)))

        async def write_address() -> None:
            (directory / "address").write_text(door.address)

        runtime.on_serving(write_address)
        yield ()

    async with serving(Runtime("gateway", settings_from({"server": {"drain_seconds": 0.0}})), build):
        address = (directory / "address").read_text()
        async with grpc.aio.insecure_channel(address) as channel:
            stub = rpc.CatalogServiceStub(channel)
            await stub.GetSummary(pb.GetSummaryRequest(), metadata=(("librarian-ticket", "good"),))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetSummary(pb.GetSummaryRequest())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest(service=CATALOG))).status == SERVING
    assert served == ["GetSummary"]


async def test_generic_handlers_are_guarded_too(directory: Path) -> None:
    """A byte-level proxy: any method with a role is passed on, any other is refused."""

    class Proxy(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            async def passed_on(request: bytes, _context: Any) -> bytes:
                return handler_call_details.method.encode() + b" " + request

            return grpc.unary_unary_rpc_method_handler(passed_on)

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        listen = f"unix:{directory}/gate.sock"
        door = runtime.open_door("gate", listen, authenticate=lambda *_: Caller("bob", Role.READER))
        door.add(ServicerRegistration((CATALOG,), lambda server: server.add_generic_rpc_handlers((Proxy(),))))
        yield ()

    runtime = Runtime("gateway", settings_from({"server": {"drain_seconds": 0.0}}))
    target = f"unix:{directory}/gate.sock"
    async with serving(runtime, build), grpc.aio.insecure_channel(target) as channel:
        for _ in range(2):
            method = f"/{CATALOG}/GetDataset"
            assert await channel.unary_unary(method)(b"x") == f"{method} x".encode()
        for method in (f"/{CATALOG}/PublishDatasets", f"/{CATALOG}/DropAll", "/other.Service/Do"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(b"x")
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "bob has role reader" in str(caught.value.details())
        # Names callers invent are counted under one, or they would fill the memory.
        served = generate_latest(runtime.metrics.registry).decode()
    assert "DropAll" not in served
    assert 'code="PERMISSION_DENIED",method="unknown",service="unknown"} 2.0' in served


def worker(directory: Path, grace: float = 2.0) -> Runtime:
    return Runtime("worker", settings_from({"server": {"drain_seconds": 0.0, "grace_seconds": grace}}))


async def test_background_tasks_are_cancelled_or_awaited_at_a_stop(directory: Path) -> None:
    ends: list[str] = []
    started = asyncio.Event()

    async def forever() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def finishing(runtime: Runtime) -> None:
        await runtime.stopping.wait()
        ends.append("finished")

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        runtime.spawn("forever", forever())
        runtime.spawn("finishing", finishing(runtime), ends_itself=True)
        yield ()
        ends.append("closed")

    async with serving(worker(directory), build) as runtime:
        await started.wait()
    assert ends == ["finished", "cancelled", "closed"]
    assert runtime.failure is None


async def test_a_task_that_dies_stops_the_service(directory: Path) -> None:
    async def dies() -> None:
        raise ValueError("bad day")

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        runtime.spawn("sweeper", dies())
        yield ()

    async with serving(worker(directory), build) as runtime:
        await asyncio.wait_for(runtime.stopping.wait(), 5)
        assert isinstance(runtime.failure, ValueError)


async def test_tasks_of_a_build_that_fails_are_cancelled(directory: Path) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        runtime.spawn("forever", forever())
        await started.wait()
        raise InvalidConfig("config: no")
        yield ()

    with pytest.raises(InvalidConfig):
        async with serving(worker(directory), build):
            pass
    assert ended.is_set()


async def test_what_build_opened_is_closed_when_the_start_fails(directory: Path) -> None:
    closed: list[str] = []

    @asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
        runtime.open_door(
            "gate", f"unix:{directory}/gate.sock", authenticate=lambda *_: Caller("b", Role.READER)
        )

        async def cannot() -> None:
            raise InvalidConfig("config: cannot write the address file")

        runtime.on_serving(cannot)
        try:
            yield ()
        finally:
            closed.append("closed")

    with pytest.raises(InvalidConfig):
        async with serving(worker(directory), build):
            pass
    assert closed == ["closed"]
    assert not (directory / "gate.sock").exists()
