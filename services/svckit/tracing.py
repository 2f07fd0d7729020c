"""Spans, and the trace context that travels with every call whether spans are recorded or not.

The context is a W3C `traceparent` string. With no exporter configured nothing of OpenTelemetry is
imported; the context still passes through, because a dataset keeps its trace for life.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Self

from librarian.errors import LibrarianError
from svckit.status import is_our_fault

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from svckit.sections import TelemetrySettings

Attributes = Mapping[str, str | int | float | bool]

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# Also how long a receiver that does not answer may hold up a stop.
_EXPORT_SECONDS = 3.0

_current: ContextVar[str] = ContextVar("librarian_traceparent", default="")


def current_traceparent() -> str:
    """The context outgoing calls and new datasets belong to; "" when there is none."""
    return _current.get()


def set_traceparent(traceparent: str) -> None:
    """What this task does from now on belongs to that trace."""
    _current.set(traceparent)


def new_traceparent() -> str:
    """The root of a new trace, marked as sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def is_traceparent(text: str) -> bool:
    return _TRACEPARENT.fullmatch(text) is not None


def trace_id_of(traceparent: str) -> str:
    """The trace's 32 hex digits; "" for ""."""
    return traceparent[3:35]


class Tracing:
    """Records spans; off without a provider."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("librarian") if provider is not None else None
        self.enabled = provider is not None

    @classmethod
    def open(cls, settings: TelemetrySettings, *, service: str, site: str) -> Self:
        if not settings.otlp_endpoint:
            return cls()
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        provider = TracerProvider(
            resource=Resource.create({"service.name": f"librarian-{service}", "librarian.site": site}),
            sampler=ParentBasedTraceIdRatio(settings.sample_ratio),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=settings.otlp_endpoint, insecure=settings.otlp_insecure, timeout=_EXPORT_SECONDS
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    @contextmanager
    def span(
        self, name: str, *, traceparent: str = "", server: bool = False, attributes: Attributes | None = None
    ) -> Iterator[Span | None]:
        """A span under `traceparent` (else under the current context), which is current inside.

        An exception marks it as failed, unless it is a refusal that is the caller's to mend, or the
        caller went away.
        """
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        span = self._tracer.start_span(
            name,
            context=_context_of(traceparent or _current.get()),
            kind=SpanKind.SERVER if server else SpanKind.INTERNAL,
            attributes=attributes,
        )
        token = _current.set(_traceparent_of(span))
        try:
            yield span
        except LibrarianError as error:
            span.set_attribute("librarian.reason", error.reason)
            if is_our_fault(error):
                span.set_status(Status(StatusCode.ERROR, error.reason))
            raise
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            _current.reset(token)
            span.end()

    def record(
        self,
        name: str,
        *,
        traceparent: str,
        start: datetime,
        end: datetime,
        attributes: Attributes | None = None,
    ) -> None:
        """A milestone in the life of a dataset, from times that were stored."""
        if self._tracer is not None and is_traceparent(traceparent):
            span = self._tracer.start_span(
                name,
                context=_context_of(traceparent),
                attributes=attributes,
                start_time=_nanoseconds(start),
            )
            span.end(_nanoseconds(end))

    async def close(self) -> None:
        """Sends what is still held back. In a thread: the exporter blocks."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000


def _traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context_of(traceparent: str) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not is_traceparent(traceparent):
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(parent), Context())
