"""Which metadata crosses the gateway, in either direction. Pure."""

from __future__ import annotations

from collections.abc import Iterable

STORE_KEY = "librarian-store"
STORE_SERVICE_KEY = "librarian-store-service"

_TRACE_KEYS = frozenset({"traceparent", "tracestate"})
_OWN_PREFIX = "librarian-"
# What gRPC itself writes on each hop; the status details are ours to hand on.
_HOP_KEYS = frozenset({"content-type", "user-agent", "te", "host", "date", "server"})
_STATUS_DETAILS = "grpc-status-details-bin"


Pair = tuple[str, str | bytes]


def to_service(pairs: Iterable[Pair] | None) -> list[Pair]:
    """What of a client's metadata a service may see: the trace and our own keys, nothing else.

    An allow-list, so that the client's credentials and whatever proxies add stay at the door.
    """
    return [(key, value) for key, value in pairs or () if key in _TRACE_KEYS or key.startswith(_OWN_PREFIX)]


def to_client(pairs: Iterable[Pair] | None) -> tuple[Pair, ...]:
    """What of a service's metadata the client gets: all but what belongs to one hop.

    A tuple, because grpc.aio takes trailing metadata as nothing else.
    """
    return tuple(
        (key, value)
        for key, value in pairs or ()
        if key == _STATUS_DETAILS or not (key in _HOP_KEYS or key.startswith((":", "grpc-")))
    )


def value_of(pairs: Iterable[Pair] | None, wanted: str) -> str:
    """The first value of a text key, or "" where it is absent."""
    for key, value in pairs or ():
        if key == wanted and isinstance(value, str):
            return value
    return ""


def has_status_details(pairs: Iterable[Pair] | None) -> bool:
    """Whether a service itself wrote this status, rather than the wire breaking."""
    return any(key == _STATUS_DETAILS for key, _ in pairs or ())
