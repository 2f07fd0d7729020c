"""Calls from one service to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from librarian.api.store.v1 import store_pb2 as pb
from librarian.api.store.v1 import store_pb2_grpc as rpc
from librarian.errors import InvalidConfig, NotFound, StoreFull, Unavailable
from svckit.auth import ISSUERS, Signer, Verifier
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.settings import Settings, settings_from
from svckit.status import code_of, trailers_of
from svckit.tracing import set_traceparent

TRACEPARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


class Store(rpc.StoreServiceServicer):
    """Notes what came, and refuses the first calls as often as told."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []
        self.seconds: list[float | None] = []
        self.refusals = 0

    async def ListStores(self, _request: Any, context: Any) -> Any:  # noqa: N802 - as the stub says
        self.note(context)
        if self.refusals:
            self.refusals -= 1
            message, trailers = trailers_of(Unavailable("in a moment"))
            await context.abort(code_of(Unavailable("")), message, trailers)
        return pb.ListStoresResponse()

    async def ScanStore(self, _request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.note(context)
        yield pb.ScanStoreResponse(scanned_count=1)
        message, trailers = trailers_of(StoreFull("no room"))
        await context.abort(code_of(StoreFull("")), message, trailers)

    def note(self, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds.append(context.time_remaining())


@pytest.fixture
async def store(directory: Path) -> AsyncIterator[Store]:
    servicer = Store()
    server = grpc.aio.server()
    rpc.add_StoreServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{directory}/store.sock")
    await server.start()
    yield servicer
    await server.stop(None)


@pytest.fixture
def settings(directory: Path) -> Settings:
    ensure_keys(directory, ISSUERS)
    return settings_from({"services": {"stores": {"lab": f"unix:{directory}/store.sock"}}})


@pytest.fixture
async def channels(settings: Settings, directory: Path) -> AsyncIterator[ServiceChannels]:
    async with ServiceChannels(settings, Signer.load(directory, "transfer")) as opened:
        yield opened


async def test_each_call_has_token_trace_and_deadline(
    store: Store, channels: ServiceChannels, directory: Path
) -> None:
    set_traceparent(TRACEPARENT)
    await channels.store("lab").ListStores(pb.ListStoresRequest(), metadata=(("librarian-store", "a"),))
    (metadata,) = store.metadata
    caller = Verifier.load(directory, "store").verify(metadata["authorization"].removeprefix("Bearer "))
    assert (caller.subject, caller.role) == ("transfer", "service")
    assert metadata["traceparent"] == TRACEPARENT
    assert metadata["librarian-store"] == "a"
    assert store.seconds[0] is not None
    assert store.seconds[0] == pytest.approx(30, abs=5)


async def test_a_deadline_given_is_kept(store: Store, channels: ServiceChannels) -> None:
    await channels.store("lab").ListStores(pb.ListStoresRequest(), timeout=300)
    assert store.seconds[0] is not None
    assert store.seconds[0] > 250


async def test_streams_have_no_deadline_and_tell_errors(store: Store, channels: ServiceChannels) -> None:
    found = aiter(channels.store("lab").ScanStore(pb.ScanStoreRequest()))
    assert (await anext(found)).scanned_count == 1
    with pytest.raises(StoreFull, match="no room"):
        await anext(found)
    assert store.seconds == [None]


async def test_a_passing_refusal_is_ridden_over(store: Store, channels: ServiceChannels) -> None:
    store.refusals = 2
    await channels.store("lab").ListStores(pb.ListStoresRequest())
    assert len(store.metadata) == 3
    store.refusals = 100
    with pytest.raises(Unavailable, match="in a moment"):
        await channels.store("lab").ListStores(pb.ListStoresRequest())


async def test_a_service_that_is_not_there_is_unavailable(channels: ServiceChannels) -> None:
    with pytest.raises(Unavailable):
        await channels.store("lab").ListStores(pb.ListStoresRequest())


async def test_what_the_settings_do_not_name(channels: ServiceChannels) -> None:
    with pytest.raises(NotFound, match="no store service is called attic"):
        channels.store("attic")
    with pytest.raises(InvalidConfig, match=r"services\.catalog is not set"):
        _ = channels.catalog


async def test_one_stub_and_one_channel_each(channels: ServiceChannels, settings: Settings) -> None:
    assert channels.store("lab") is channels.store("lab")
    address = settings.services.stores["lab"]
    assert channels.channel(address) is channels.channel(address)


async def test_one_that_is_slow_to_answer_is_given_its_time(
    channels: ServiceChannels, settings: Settings, directory: Path
) -> None:
    """A connection is made, and for a while nothing comes: it is not dropped for another one."""
    given_up = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(65536):
            pass
        given_up.set()

    server = await asyncio.start_unix_server(say_nothing, directory / "slow.sock")
    settings.services.stores["slow"] = f"unix:{directory}/slow.sock"
    call = asyncio.ensure_future(channels.store("slow").ListStores(pb.ListStoresRequest()))
    waiting = asyncio.create_task(given_up.wait())
    await asyncio.wait({call, waiting}, timeout=1)
    assert not given_up.is_set()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await channels.__aexit__(None, None, None)
    await waiting
    server.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    await server.wait_closed()
