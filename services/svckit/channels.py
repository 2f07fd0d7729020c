"""Calls from one service to another: a token on each, the trace, a deadline, and our own errors back.

The stubs here look like the generated ones, except that a unary call is a plain awaitable and that a
stream is an async iterator with `cancel`. Both raise LibrarianError classes, never grpc.RpcError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import grpc

from librarian.errors import InvalidConfig, NotFound
from librarian.rpc import channel_options, error_from_rpc
from svckit.auth import Caller, Signer, service_caller
from svckit.settings import Settings
from svckit.tracing import current_traceparent

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceAsyncStub
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub
    from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceAsyncStub

UNARY_SECONDS = 30.0
# What one attempt to connect may take: enough for a busy machine, and far less than gRPC's own 20 s, which a
# host that swallows everything would cost each time.
CONNECT_MS = 5_000
# A service that was down is found again soon: it is next door, and gRPC's own backoff goes to two minutes.
_IN_SITE_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name, the time for one attempt.
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
Pairs = tuple[tuple[str, str | bytes], ...]


class ServiceChannels:
    """One channel to each service, made when first asked for. An async context manager.

    Calls are made as `caller`; None: in the signer's own name, with role `service`.
    """

    def __init__(self, settings: Settings, signer: Signer, *, caller: Caller | None = None) -> None:
        self._services = settings.services
        self._signer = signer
        self._caller = caller or service_caller(signer.issuer)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stores: dict[str, StoreServiceAsyncStub] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    @cached_property
    def catalog(self) -> CatalogServiceAsyncStub:
        from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceStub

        stub: CatalogServiceAsyncStub = CatalogServiceStub(self._calls_to(self._services.catalog, "catalog"))
        return stub

    @cached_property
    def transfer(self) -> TransferServiceAsyncStub:
        from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceStub

        stub: TransferServiceAsyncStub = TransferServiceStub(
            self._calls_to(self._services.transfer, "transfer")
        )
        return stub

    @cached_property
    def federation(self) -> FederationServiceAsyncStub:
        """Of this very site: how datasets are brought from one of its stores to another."""
        from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceStub

        stub: FederationServiceAsyncStub = FederationServiceStub(
            self._calls_to(self._services.transfer, "transfer")
        )
        return stub

    def store(self, store_service: str) -> StoreServiceAsyncStub:
        """The store service of that name in the settings. Raises NotFound."""
        found = self._stores.get(store_service)
        if found is not None:
            return found
        from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub

        address = self._services.stores.get(store_service)
        if address is None:
            raise NotFound(
                f"no store service is called {store_service}",
                remedy="name it under [services.stores], with its address",
                store_service=store_service,
            )
        stub: StoreServiceAsyncStub = StoreServiceStub(self._calls_to(address, "store"))
        self._stores[store_service] = stub
        return stub

    def channel(self, address: str) -> grpc.aio.Channel:
        """The bare channel to an address of the settings."""
        found = self._channels.get(address)
        if found is None:
            options = [*channel_options(), *_IN_SITE_OPTIONS]
            found = self._channels[address] = grpc.aio.insecure_channel(address, options=options)
        return found

    def _calls_to(self, address: str, audience: str) -> Any:
        if not address:
            raise InvalidConfig(f"config: services.{audience} is not set", key=f"services.{audience}")

        def metadata() -> Pairs:
            return call_metadata(self._signer.mint(self._caller, audience))

        return CallingChannel(self.channel(address), metadata)


def call_metadata(token: str) -> Pairs:
    """Metadata of one call: the token, and the trace it belongs to."""
    bearer = ("authorization", f"Bearer {token}")
    traceparent = current_traceparent()
    return (bearer, ("traceparent", traceparent)) if traceparent else (bearer,)


class CallingChannel:
    """What generated stubs are made on: adds metadata and deadline, translates errors."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Callable[[], Pairs]) -> None:
        self._channel = channel
        self._metadata = metadata

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._answering(self._channel.unary_unary(method, *args, **kwargs), UNARY_SECONDS)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._answering(self._channel.stream_unary(method, *args, **kwargs), None)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._streaming(self._channel.unary_stream(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._streaming(self._channel.stream_stream(method, *args, **kwargs))

    def _answering(self, invoke: Any, seconds: float | None) -> Callable[..., Any]:
        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - the stub's own word
            metadata: Any = None,
            **options: Any,
        ) -> Any:
            try:
                return await invoke(
                    request,
                    timeout=timeout or seconds,
                    metadata=(*self._metadata(), *(metadata or ())),
                    **options,
                )
            except grpc.aio.AioRpcError as error:
                raise error_from_rpc(error) from error

        return call

    def _streaming(self, invoke: Any) -> Callable[..., Any]:
        def call(request: Any, *, metadata: Any = None, **options: Any) -> TranslatedStream:
            return TranslatedStream(
                invoke(request, metadata=(*self._metadata(), *(metadata or ())), **options)
            )

        return call


class TranslatedStream:
    """Answers of a streaming call. Cancel it when you stop before its end."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    async def _answers(self) -> AsyncIterator[Any]:
        try:
            async for answer in self._call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        finally:
            self._call.cancel()
