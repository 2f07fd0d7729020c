"""The data door: bytes by TCP, for whoever shows a ticket.

The same servicer, of which only three methods are there; a ticket says who is calling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import grpc

from librarian.errors import InvalidConfig, TicketInvalid
from store_svc.kit import Kit
from store_svc.servicer import TICKET_KEY
from store_svc.tickets import Purpose
from store_svc.wire import lean
from svckit.auth import Caller, Role
from svckit.guard import Authenticator, CallMetadata
from svckit.sections import StoreSettings

_PURPOSES: Final = {
    "WriteUpload": (Purpose.WRITE, Role.INGESTER),
    "GetUpload": (Purpose.WRITE, Role.INGESTER),
    "ReadDataset": (Purpose.READ, Role.READER),
}


def ticket_holders(kit: Kit) -> Authenticator:
    """Who a ticket was issued to is who is calling."""

    def authenticate(metadata: CallMetadata, method: str) -> Caller:
        found = _PURPOSES.get(method.rpartition("/")[2])
        if found is None:
            raise TicketInvalid("only bytes are written and read here", remedy="call the gateway instead")
        purpose, role = found
        ticket = kit.tickets.check(str(metadata.get(TICKET_KEY, "")), purpose, kit.clock.now())
        return Caller(ticket.subject, role, token_id=ticket.token_id)

    return authenticate


def bytes_only(server: Any) -> Any:
    """Stands in for the server while the servicer is added, and leaves all other methods out."""
    return _BytesOnly(lean(server))


class _BytesOnly:
    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """The generated code registers the same methods by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        kept = {name: handler for name, handler in handlers.items() if name in _PURPOSES}
        self._server.add_registered_method_handlers(service, kept)


def door_credentials(settings: StoreSettings) -> grpc.ServerCredentials | None:
    """TLS where its files are set; None for plaintext. Raises InvalidConfig."""
    if bool(settings.data_tls_cert) != bool(settings.data_tls_key):
        key = "store.data_tls_key" if settings.data_tls_cert else "store.data_tls_cert"
        raise InvalidConfig(f"config: {key} is not set, and the other half of the pair is", key=key)
    if not settings.data_tls_cert:
        return None
    try:
        pair = (Path(settings.data_tls_key).read_bytes(), Path(settings.data_tls_cert).read_bytes())
    except OSError as error:
        raise InvalidConfig(
            f"config: cannot read {error.filename}: {error.strerror}", key="store.data_tls_cert"
        ) from error
    return grpc.ssl_server_credentials([pair])
