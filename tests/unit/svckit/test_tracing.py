"""Trace contexts and spans, with spans kept in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from librarian.errors import LibrarianError, NameTaken, Unavailable
from svckit.tracing import Tracing, current_traceparent, is_traceparent, new_traceparent, trace_id_of

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "\n",
        "00-00000000000000000000000000000000-0123456789abcdef-01",
        "00-0123456789abcdef0123456789abcdef-0000000000000000-01",
    ],
)
def test_what_is_no_context(text: str) -> None:
    assert not is_traceparent(text)


def test_a_new_context_is_one() -> None:
    assert is_traceparent(new_traceparent())
    assert new_traceparent() != new_traceparent()
    assert trace_id_of(PARENT) == "0123456789abcdef0123456789abcdef"
    assert trace_id_of("") == ""


def test_spans_nest_and_pass_on(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.span("outer", traceparent=PARENT, server=True):
        outside = current_traceparent()
        with tracing.span("inner", attributes={"name": "a/b"}):
            assert current_traceparent() != outside
        assert current_traceparent() == outside
    assert current_traceparent() == ""
    inner, outer = exporter.get_finished_spans()
    assert inner.parent is not None
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == "0123456789abcdef"
    assert inner.parent.span_id == outer.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in (inner, outer)} == {trace_id_of(PARENT)}
    assert outer.kind is SpanKind.SERVER
    assert inner.attributes == {"name": "a/b"}


def test_an_exception_marks_the_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracing.span("work"):
        raise KeyError("secret")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "KeyError"
    assert not span.events


@pytest.mark.parametrize(
    ("error", "status"), [(NameTaken("x"), StatusCode.UNSET), (Unavailable("x"), StatusCode.ERROR)]
)
def test_a_refusal_is_told_and_a_trouble_of_ours_marked(
    tracing: Tracing, exporter: InMemorySpanExporter, error: LibrarianError, status: StatusCode
) -> None:
    with pytest.raises(type(error)), tracing.span("work"):
        raise error
    (span,) = exporter.get_finished_spans()
    assert span.attributes == {"librarian.reason": error.reason}
    assert span.status.status_code is status


def test_one_who_goes_away_is_no_failure(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(asyncio.CancelledError), tracing.span("work"):
        raise asyncio.CancelledError
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET


def test_milestones_have_the_times_that_were_stored(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    start = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    tracing.record("stored", traceparent=PARENT, start=start, end=start + timedelta(seconds=2))
    tracing.record("ignored", traceparent="nonsense", start=start, end=start)
    (span,) = exporter.get_finished_spans()
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2_000_000_000
    assert span.start_time % 1_000_000_000 == 123_456_000


def test_without_a_receiver_nothing_is_imported() -> None:
    code = (
        "import sys, svckit.server, svckit.channels, svckit.migrations, svckit.provision\n"
        "bad = {'opentelemetry', 'aiohttp', 'alembic'} & set(sys.modules)\n"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
