"""Addresses of a gateway and of a store's data door.

`grpc://host:port` is plain and only for this machine unless `insecure`; `grpcs://host:port` is TLS;
`host:port` is plain on this machine and TLS elsewhere; `unix:/path.sock` is a socket.
"""

from __future__ import annotations

from dataclasses import dataclass

from librarian.errors import InvalidInput

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "[::1]", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """What gRPC dials (`target`), whether by TLS, and what people see (`text`)."""

    target: str
    secure: bool
    text: str


def parse_address(text: str, *, insecure: bool = False) -> Address:
    """Raises InvalidInput, also for a plain connection that would leave this machine."""
    text = text.strip()
    if text.startswith("unix:"):
        return Address(text, secure=False, text=text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or not host or not port.isdecimal() or scheme not in {"", "grpc", "grpcs"}:
        raise InvalidInput(
            f"{text!r} is not an address of a librarian",
            remedy="write grpcs://host:port, or grpc://127.0.0.1:port for a site on this machine",
            address=text,
        )
    local = is_loopback(host)
    secure = scheme == "grpcs" or (scheme == "" and not local and not insecure)
    if not secure and not local and not insecure:
        raise InvalidInput(
            f"{text} would send the token unencrypted to another machine",
            remedy="use grpcs://, or set `insecure = true` in the named connection if the network is trusted",
            address=text,
        )
    return Address(f"{host}:{port}", secure=secure, text=f"{'grpcs' if secure else 'grpc'}://{host}:{port}")


def is_loopback(host: str) -> bool:
    return host in LOOPBACK_NAMES or host.startswith("127.")
