"""One connection to a site's gateway: stubs, the token, deadlines, and errors as ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc

from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceStub
from librarian.api.gateway.v1.gateway_pb2_grpc import PeerServiceStub, SiteServiceStub
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceStub
from librarian.connection.address import Address
from librarian.connection.patience import PATIENCE_SECONDS, Patience
from librarian.connection.settings import ConnectionSettings
from librarian.errors import InvalidConfig, LibrarianError, Unavailable
from librarian.rpc import channel_options, error_from_rpc

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = Sequence[tuple[str, str]]

UNARY_SECONDS = 30.0
# A waiting call answers within 25 s; the rest is for the way.
WAIT_MS = 20_000
WAIT_SECONDS = 35.0


def store_metadata(store: str, ticket: str = "") -> Metadata:
    """Names the store to the gateway; the ticket opens its bytes."""
    named = [("librarian-store", store)]
    return [*named, ("librarian-ticket", ticket)] if ticket else named


class SiteChannel:
    """Opened by `async with`. Every call carries the token, a deadline, and raises our errors.

    `answered` tells whether the site ever did.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.answered = False
        self.patience_seconds = PATIENCE_SECONDS
        self._token = ("authorization", f"Bearer {settings.token}")
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = open_channel(self.settings.address, self.settings)
        self.catalog = CatalogServiceStub(self._channel)
        self.store = StoreServiceStub(self._channel)
        self.transfer = TransferServiceStub(self._channel)
        self.site = SiteServiceStub(self._channel)
        self.peers = PeerServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    @property
    def channel(self) -> grpc.aio.Channel:
        assert self._channel is not None, "inside `async with`"
        return self._channel

    def metadata(self, extra: Metadata = ()) -> Metadata:
        return [self._token, *extra]

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = UNARY_SECONDS,  # noqa: ASYNC109 - gRPC's own deadline, which the server sees too
        metadata: Metadata = (),
    ) -> Response:
        try:
            response = await method(request, timeout=timeout, metadata=self.metadata(metadata))
        except grpc.aio.AioRpcError as error:
            raise self.error(error) from None
        self.answered = True
        return response

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        metadata: Metadata = (),
    ) -> AsyncIterator[Response]:
        call = method(request, metadata=self.metadata(metadata))
        try:
            async for response in call:
                self.answered = True
                yield response
        except grpc.aio.AioRpcError as error:
            raise self.error(error) from None
        finally:
            # Leaving the loop early must end the call at the server too.
            call.cancel()

    def patience(self) -> Patience:
        """A site that never answered is told of at once; one that did may take its time to come back."""
        return Patience(self.patience_seconds if self.answered else 0.0)

    def error(self, error: grpc.aio.AioRpcError) -> LibrarianError:
        """As our class. One that never met a server says which address did not answer."""
        details = {key for key, _ in error.trailing_metadata() or ()}
        if error.code() is not grpc.StatusCode.UNAVAILABLE or "grpc-status-details-bin" in details:
            self.answered = True
            return error_from_rpc(error)
        settings = self.settings
        return Unavailable(
            # The end of what gRPC says is what the system said: "Connection refused".
            f"{settings.address.text} does not answer: {(error.details() or '').rpartition(': ')[2]}",
            remedy="`librarian up` starts a site on this machine"
            if settings.is_home
            else "is the site up, and the address right? `librarian doctor` looks closer",
            address=settings.address.text,
            source=settings.source,
        )


def open_channel(address: Address, settings: ConnectionSettings) -> grpc.aio.Channel:
    options = channel_options(http_proxy=address.secure)
    if not address.secure:
        return grpc.aio.insecure_channel(address.target, options=options)
    roots = None
    if settings.ca_file is not None:
        try:
            roots = settings.ca_file.read_bytes()
        except OSError as error:
            raise InvalidConfig(f"the certificates in {settings.ca_file} cannot be read: {error}") from None
    return grpc.aio.secure_channel(address.target, grpc.ssl_channel_credentials(roots), options=options)


async def reachable(channel: grpc.aio.Channel, seconds: float) -> bool:
    """Whether a connection is there within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await channel.channel_ready()
    except TimeoutError:
        return False
    return True
