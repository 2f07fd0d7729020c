"""A small service on a real port, and what it needs to be called."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.catalog.v1 import catalog_pb2_grpc as rpc
from librarian.errors import InternalError, InvalidInput, NameTaken
from svckit.auth import ISSUERS, Caller, Role, Signer, current_caller
from svckit.channels import ServiceChannels, call_metadata
from svckit.keys import ensure_keys
from svckit.server import Runtime, ServicerRegistration, serving
from svckit.settings import Settings, settings_from
from svckit.tracing import current_traceparent

CATALOG = "librarian.api.catalog.v1.CatalogService"


class Scripted(rpc.CatalogServiceServicer):
    """Does what the name in the request says."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()
        self.traceparents: list[str] = []

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Any) -> pb.GetDatasetResponse:  # noqa: N802 - as the stub says
        self.traceparents.append(current_traceparent())
        match request.name:
            case "taken":
                raise NameTaken("taken/it is taken", name="taken/it")
            case "invalid":
                raise InvalidInput("no size", field="size_bytes")
            case "bug":
                raise ValueError("the password is hunter2")
            case "internal":
                raise InternalError("the password is hunter2")
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._refuse())
            case "aborts":
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "the servicer's own words")
            case "wait":
                await self._wait()
        return pb.GetDatasetResponse(dataset=pb.Dataset(name=request.name, uploader=current_caller().subject))

    async def WatchEvents(  # noqa: N802 - as the stub says
        self, request: pb.WatchEventsRequest, _context: Any
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        try:
            for sequence in range(request.after.sequence):
                yield pb.WatchEventsResponse(next=pb.EventCursor(sequence=sequence))
            if request.after.epoch == 1:
                raise NameTaken("in the middle")
            await self._wait()
        finally:
            self.left.set()

    async def AddMembers(  # noqa: N802 - as the stub says
        self, request_iterator: AsyncIterator[pb.AddMembersRequest], _context: Any
    ) -> pb.AddMembersResponse:
        return pb.AddMembersResponse(member_count=len([one async for one in request_iterator]))

    async def RegisterDatasets(  # noqa: N802 - as the stub says
        self, request_iterator: AsyncIterator[pb.RegisterDatasetsRequest], context: Any
    ) -> None:
        # The other way to answer a stream: writing to the context.
        async for request in request_iterator:
            await context.write(pb.RegisterDatasetsResponse(request_id=request.request_id))

    async def _refuse(self) -> None:
        raise NameTaken("from a task")

    async def _wait(self) -> None:
        self.entered.set()
        try:
            await self.go_on.wait()
        finally:
            self.left.set()


@dataclass
class Site:
    """One running service and its keys."""

    directory: Path
    settings: Settings
    servicer: Scripted
    runtime: Runtime
    logged: list[dict[str, Any]] = field(default_factory=list)

    def channels(self, issuer: str = "transfer", caller: Caller | None = None) -> ServiceChannels:
        return ServiceChannels(self.settings, Signer.load(self.directory, issuer), caller=caller)

    def metadata(self, role: Role = Role.READER, audience: str = "catalog") -> Any:
        return call_metadata(Signer.load(self.directory, "gateway").mint(Caller("bob", role), audience))

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[rpc.CatalogServiceAsyncStub]:
        """A bare stub: grpc's own errors, no metadata of itself."""
        async with grpc.aio.insecure_channel(self.runtime.address) as channel:
            yield rpc.CatalogServiceStub(channel)

    def metric(self, **labels: str) -> float:
        value = self.runtime.metrics.registry.get_sample_value(
            "librarian_rpc_seconds_count", {"service": CATALOG, **labels}
        )
        return value or 0.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="lib-kit-", dir="/tmp") as name:
        yield Path(name)


SiteFactory = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def open_site(directory: Path) -> SiteFactory:
    """Opens a service: sections of settings may be given, and what else the runtime takes."""

    @asynccontextmanager
    async def open_it(
        *, runtime_inputs: dict[str, Any] | None = None, **sections: Any
    ) -> AsyncIterator[Site]:
        ensure_keys(directory, ISSUERS)
        address = f"unix:{directory}/catalog.sock"
        settings = settings_from(
            {
                "auth": {"keys_dir": str(directory)},
                "catalog": {"listen": address, "metrics_listen": "127.0.0.1:0"},
                "services": {"catalog": address},
                "server": {"drain_seconds": 0.0, "grace_seconds": 2.0},
                **sections,
            }
        )
        servicer = Scripted()
        registration = ServicerRegistration(
            (CATALOG,), lambda server: rpc.add_CatalogServiceServicer_to_server(servicer, server)
        )

        @asynccontextmanager
        async def build(_runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
            yield [registration]

        runtime = Runtime("catalog", settings, **(runtime_inputs or {}))
        async with serving(runtime, build):
            yield Site(directory, settings, servicer, runtime)

    return open_it


@pytest.fixture
async def site(open_site: SiteFactory) -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened
