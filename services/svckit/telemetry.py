"""Logs and metrics of one process."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from svckit.sections import TelemetrySettings
from svckit.tracing import current_traceparent, trace_id_of

Logger = structlog.typing.FilteringBoundLogger

RPC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


def configure_logging(settings: TelemetrySettings) -> None:
    """One line an event on stderr, our own and the libraries' alike."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
    ]
    if settings.log_format == "json":
        # As text, without local variables: among them are tokens and data.
        finish: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        finish = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def get_logger(service: str) -> Logger:
    logger: Logger = structlog.get_logger(service=service)
    return logger


def _add_trace_id(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if traceparent := current_traceparent():
        event["trace_id"] = trace_id_of(traceparent)
    return event


class Metrics:
    """The metrics of one service, in a registry of its own. Names begin with `librarian_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.rpc_seconds = self.histogram(
            "rpc_seconds",
            "Time to serve a call, by its end; the count of it is the number of calls.",
            ("service", "method", "code"),
            buckets=RPC_BUCKETS,
        )

    def counter(self, name: str, what: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"librarian_{name}", what, labels, registry=self.registry)

    def gauge(self, name: str, what: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"librarian_{name}", what, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        what: str,
        labels: tuple[str, ...] = (),
        *,
        buckets: tuple[float, ...] = Histogram.DEFAULT_BUCKETS,
    ) -> Histogram:
        return Histogram(f"librarian_{name}", what, labels, buckets=buckets, registry=self.registry)
