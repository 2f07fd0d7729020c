"""Traces as a receiver sees them: an OTLP server in the test, services that export to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_rpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import InternalError, NameTaken
from svckit.tracing import set_traceparent, trace_id_of

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


class Receiver(otlp_rpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.address = ""
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []

    async def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - as the contract says
        for group in request.resource_spans:
            self.resources.append({a.key: a.value.string_value for a in group.resource.attributes})
            for scope in group.scope_spans:
                self.spans += scope.spans
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = grpc.aio.server()
    received = Receiver()
    otlp_rpc.add_TraceServiceServicer_to_server(received, server)
    received.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield received
    await server.stop(None)


async def test_spans_of_calls_reach_the_receiver(open_site: Any, receiver: Receiver) -> None:
    """All of them at the latest when the service stops, in the caller's trace, with how they ended."""
    async with (
        open_site(telemetry={"otlp_endpoint": receiver.address}, site={"name": "chile"}) as site,
        site.channels() as channels,
    ):
        set_traceparent(PARENT)
        await channels.catalog.GetDataset(pb.GetDatasetRequest(name="a"))
        for name, error in (("taken", NameTaken), ("bug", InternalError)):
            with pytest.raises(error):
                await channels.catalog.GetDataset(pb.GetDatasetRequest(name=name))
        site.servicer.go_on.set()
        request = pb.WatchEventsRequest(after=pb.EventCursor(sequence=2))
        assert len([event async for event in channels.catalog.WatchEvents(request)]) == 2
        # What the servicer passes on is its own span, not the caller's.
        (first, *_) = site.servicer.traceparents
    spans = receiver.spans
    assert {span.trace_id.hex() for span in spans} == {trace_id_of(PARENT)}
    assert {span.parent_span_id.hex() for span in spans} == {"0123456789abcdef"}
    assert [span.name.rpartition("/")[2] for span in spans] == [*["GetDataset"] * 3, "WatchEvents"]
    assert [span.status.code for span in spans] == [
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
        Status.STATUS_CODE_UNSET,
    ]
    assert first == f"00-{trace_id_of(PARENT)}-{spans[0].span_id.hex()}-01"
    assert receiver.resources[0]["service.name"] == "librarian-catalog"
    assert receiver.resources[0]["librarian.site"] == "chile"
    assert "hunter2" not in str(spans)


async def test_a_dead_receiver_disturbs_nobody(open_site: Any) -> None:
    async with open_site(telemetry={"otlp_endpoint": "127.0.0.1:1"}) as site, site.channels() as channels:
        answer = await channels.catalog.GetDataset(pb.GetDatasetRequest(name="a"))
        assert answer.dataset.name == "a"
