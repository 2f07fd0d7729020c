"""What crosses the gateway, for each kind of method: messages, metadata, deadlines, ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from structlog.testing import capture_logs
from support.eventually import eventually
from support.gateway_site import CATALOG, STORE, TRANSFER, Context, GatewaySite

from librarian.rpc import error_from_rpc

MIB = 1 << 20


def rich_status() -> status_pb2.Status:
    status = status_pb2.Status(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], message="no: ü\n2nd line")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(
            reason="STORE_FULL", domain="librarian", metadata={"remedy": "free space"}
        )
    )
    status.details.add().Pack(error_details_pb2.DebugInfo(detail="kept as it is"))
    return status


async def failing(_request: Any, context: Context) -> Any:
    status = rpc_status.to_status(rich_status())
    trailing = (*status.trailing_metadata, ("librarian-note", "seen"), ("librarian-blob-bin", b"\x00\xff"))
    await context.abort(status.code, status.details, trailing)


async def test_unary_message_and_metadata_cross_both_ways(site: GatewaySite) -> None:
    async def echo(request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata((("librarian-head", "first"),))
        context.set_trailing_metadata((("librarian-tail", "last"), ("librarian-tail-bin", b"\x00\x01")))
        return request[::-1]

    site.catalog.on[CATALOG + "GetDataset"] = echo
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call = site.unary(
        CATALOG + "GetDataset",
        b"not a proto \xff",
        extra=[
            ("traceparent", trace),
            ("tracestate", "a=b"),
            ("librarian-store", "fast"),
            ("librarian-ticket", "t1"),
            ("cookie", "private"),
        ],
    )

    assert await call == b"\xff otorp a ton"
    assert ("librarian-head", "first") in tuple(await call.initial_metadata())
    assert set(await call.trailing_metadata()) >= {
        ("librarian-tail", "last"),
        ("librarian-tail-bin", b"\x00\x01"),
    }
    (seen,) = site.catalog.seen
    assert seen.metadata["traceparent"] == trace
    assert seen.metadata["tracestate"] == "a=b"
    assert seen.metadata["librarian-store"] == "fast"
    assert seen.metadata["librarian-ticket"] == "t1"
    assert "cookie" not in seen.metadata
    assert site.admin not in str(seen.metadata)


async def test_services_are_found_by_the_name_of_the_method(site: GatewaySite) -> None:
    async def answer(_request: bytes, _context: Context) -> bytes:
        return b""

    site.transfer.on[TRANSFER + "GetIngest"] = answer
    site.stores["fast"].on[STORE + "BeginRead"] = answer
    await site.unary(TRANSFER + "GetIngest")
    await site.unary(STORE + "BeginRead")

    assert [seen.method for seen in site.transfer.seen] == [TRANSFER + "GetIngest"]
    assert [seen.method for seen in site.stores["fast"].seen] == [STORE + "BeginRead"]
    assert site.catalog.seen == []


async def test_server_stream_keeps_messages_and_their_order(site: GatewaySite) -> None:
    async def count(request: bytes, context: Context) -> None:
        for number in range(int(request)):
            await context.write(str(number).encode())
        context.set_trailing_metadata((("librarian-tail", "last"),))

    site.stores["fast"].on[STORE + "ReadDataset"] = count
    call = site.down(STORE + "ReadDataset", b"500")

    assert [message async for message in call] == [str(number).encode() for number in range(500)]
    assert ("librarian-tail", "last") in tuple(await call.trailing_metadata())


async def test_client_stream_is_answered_after_its_end_or_before(site: GatewaySite) -> None:
    async def until_stop(requests: Any, _context: Context) -> bytes:
        got = []
        async for message in requests:
            got.append(message)
            if message == b"stop":
                break
        return b",".join(got)

    site.stores["fast"].on[STORE + "WriteUpload"] = until_stop
    whole = site.up(STORE + "WriteUpload")
    for message in (b"a", b"", b"c"):
        await whole.write(message)
    await whole.done_writing()
    assert await whole == b"a,,c"

    early = site.up(STORE + "WriteUpload")
    await early.write(b"stop")
    assert await asyncio.wait_for(early, 5) == b"stop"


async def test_messages_up_to_16_mib_cross(site: GatewaySite) -> None:
    async def echo(request: bytes, _context: Context) -> bytes:
        return request

    site.catalog.on[CATALOG + "ListDatasets"] = echo
    big = bytes(16 * MIB)
    assert await site.unary(CATALOG + "ListDatasets", big) == big


@pytest.mark.parametrize("kind", ["unary", "down", "up"])
async def test_status_and_its_details_cross_unchanged(site: GatewaySite, kind: str) -> None:
    path = {"unary": STORE + "BeginRead", "down": STORE + "ReadDataset", "up": STORE + "WriteUpload"}[kind]
    site.stores["fast"].on[path] = failing
    call = getattr(site, kind)(path)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if kind == "down" else call)
    error = caught.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "no: ü\n2nd line"
    trailing = dict(error.trailing_metadata() or ())
    assert status_pb2.Status.FromString(trailing["grpc-status-details-bin"]) == rich_status()  # type: ignore[arg-type]
    assert trailing["librarian-note"] == "seen"
    assert trailing["librarian-blob-bin"] == b"\x00\xff"


async def test_an_error_after_some_messages_comes_after_those_messages(site: GatewaySite) -> None:
    async def some(request: bytes, context: Context) -> None:
        for _ in range(3):
            await context.write(b"m")
        await failing(request, context)

    site.stores["fast"].on[STORE + "ReadDataset"] = some
    call = site.down(STORE + "ReadDataset")
    assert [await call.read() for _ in range(3)] == [b"m"] * 3
    with pytest.raises(grpc.aio.AioRpcError, match="2nd line"):
        await call.read()


class Waiting:
    """A behaviour that waits for ever, and tells how it was begun and ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.seconds_left: float | None = None

    async def __call__(self, request: Any, context: Context) -> None:
        self.seconds_left = context.time_remaining()
        self.begun.set()
        try:
            if not isinstance(request, bytes):
                async for _ in request:
                    pass
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.set()
            raise


def waiting_on(site: GatewaySite, kind: str) -> tuple[Waiting, str]:
    waiting = Waiting()
    path = {"unary": STORE + "BeginRead", "down": STORE + "ReadDataset", "up": STORE + "WriteUpload"}[kind]
    site.stores["fast"].on[path] = waiting
    return waiting, path


async def end_of(call: Any, kind: str) -> Any:
    return await (call.read() if kind == "down" else call)


@pytest.mark.parametrize("kind", ["unary", "down", "up"])
async def test_the_deadline_reaches_the_service_and_ends_it(site: GatewaySite, kind: str) -> None:
    waiting, path = waiting_on(site, kind)
    began = time.monotonic()
    with capture_logs() as logged:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await end_of(getattr(site, kind)(path, timeout=1.0), kind)
        await asyncio.wait_for(waiting.ended.wait(), 3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 3
    assert not [entry for entry in logged if entry["log_level"] == "error"]
    assert waiting.seconds_left is not None
    # gRPC rounds what is left up to whole milliseconds, and more for longer times.
    assert 0 < waiting.seconds_left < 1.1


@pytest.mark.parametrize("kind", ["unary", "down", "up"])
async def test_a_client_that_cancels_cancels_the_service(site: GatewaySite, kind: str) -> None:
    waiting, path = waiting_on(site, kind)
    call = getattr(site, kind)(path)
    await asyncio.wait_for(waiting.begun.wait(), 5)
    call.cancel()
    await asyncio.wait_for(waiting.ended.wait(), 3)


async def test_a_torn_client_stream_reaches_the_service_as_cancelled(site: GatewaySite) -> None:
    ends: list[str] = []

    async def collect(requests: Any, _context: Context) -> bytes:
        try:
            async for _ in requests:
                pass
            # Where the cancellation is already on its way, it arrives at this wait.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("complete")
        return b""

    site.stores["fast"].on[STORE + "WriteUpload"] = collect
    for round_number in range(20):
        call = site.up(STORE + "WriteUpload")
        await call.write(b"a")
        seen = round_number + 1
        await eventually(lambda seen=seen: len(site.stores["fast"].seen) == seen)
        call.cancel()
        await eventually(lambda seen=seen: len(ends) == seen)
    # The fake itself may hear of the end some turns before the cancellation, as any service may.
    assert ends.count("cancelled") >= 10, ends


async def test_a_service_that_cancels_ends_the_call_as_cancelled(site: GatewaySite) -> None:
    async def cancels(_request: bytes, context: Context) -> None:
        await context.abort(grpc.StatusCode.CANCELLED, "changed my mind")

    site.catalog.on[CATALOG + "GetDataset"] = cancels
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await site.unary(CATALOG + "GetDataset")
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert caught.value.details() == "changed my mind"


@pytest.mark.parametrize("kind", ["unary", "down", "up"])
async def test_a_dead_service_is_named_with_a_remedy(site: GatewaySite, kind: str) -> None:
    _, path = waiting_on(site, kind)
    await site.stores["fast"].stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await end_of(getattr(site, kind)(path), kind)
    error = error_from_rpc(caught.value)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error.reason == "UNAVAILABLE"
    assert error.message == "the store service fast does not answer"
    assert "start the store service fast" in error.remedy
    assert ".sock" not in error.message + error.remedy


async def test_a_service_that_dies_in_the_middle_is_named_and_found_again(site: GatewaySite) -> None:
    waiting, path = waiting_on(site, "down")
    call = site.down(path)
    await asyncio.wait_for(waiting.begun.wait(), 5)
    await site.stores["fast"].stop()
    with pytest.raises(grpc.aio.AioRpcError, match="store service fast"):
        await call.read()

    async def answer(_request: bytes, _context: Context) -> bytes:
        return b"back"

    site.stores["fast"].on[STORE + "BeginRead"] = answer
    await site.stores["fast"].start()

    async def is_back() -> bool:
        try:
            return bool(await site.unary(STORE + "BeginRead") == b"back")
        except grpc.aio.AioRpcError:
            return False

    await eventually(is_back, timeout=3)


async def test_the_failpoints_stand_around_the_forwarding(site: GatewaySite) -> None:
    trace: list[str] = []

    async def answer(_request: bytes, _context: Context) -> bytes:
        trace.append("service")
        return b""

    site.catalog.on[CATALOG + "GetDataset"] = answer
    site.runtime.faults.hit = trace.append  # type: ignore[method-assign]
    try:
        await site.unary(CATALOG + "GetDataset")
    finally:
        del site.runtime.faults.hit
    assert trace == ["gateway.before_forward", "service", "gateway.after_forward"]
