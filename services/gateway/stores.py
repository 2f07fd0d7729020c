"""The store calls that concern more than one store service: listing every store, and naming a new one."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from gateway.backends import Backend, Backends
from gateway.directory import StoreDirectory
from gateway.forward import Context
from gateway.storelists import merged
from librarian.api.store.v1.store_pb2 import AddStoreRequest, ListStoresRequest, ListStoresResponse, Store
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.errors import InvalidInput, NoStore, Unavailable
from svckit.auth import Caller, Signer, current_caller, service_caller
from svckit.channels import call_metadata

# One silent store service does not hold up the list of all others for longer.
ASK_SECONDS = 4.0
# Of the caller's own deadline, the share that the services may use up.
_SHARE = 0.8


class StoreDesk:
    """ListStores and the check before AddStore, for the proxy."""

    def __init__(self, backends: Backends, signer: Signer) -> None:
        self._signer = signer
        self._stores = backends.stores
        self.directory = StoreDirectory(backends.stores, self._ask_for_ourselves)

    async def list_stores(self, _request: bytes, context: Context) -> bytes:
        """Every store of the site. Raises NoStore, and Unavailable where no store service answers."""
        if not self._stores:
            raise NoStore("this site has no store service", remedy="name one under [services.stores]")
        caller, left = current_caller(), context.time_remaining()
        seconds = ASK_SECONDS if left is None else min(ASK_SECONDS, left * _SHARE)

        async def ask(backend: Backend) -> Sequence[Store]:
            return await self._ask(backend, caller, seconds)

        answers = await self.directory.ask_all(ask)
        if all(answer.trouble for answer in answers.values()):
            raise Unavailable(
                "no store service answers: " + "; ".join(answer.trouble for answer in answers.values()),
                remedy="try again in a moment; if it lasts, start them and read their logs",
            )
        return ListStoresResponse(stores=merged(answers)).SerializeToString()

    async def check_new(self, request: bytes, backend: Backend) -> None:
        """Raises StoreExists where another store service has a store of the name asked for."""
        try:
            name = AddStoreRequest.FromString(request).store.name
        except DecodeError as error:
            raise InvalidInput("the request is no AddStoreRequest") from error
        await self.directory.check_new(name, backend)

    async def _ask_for_ourselves(self, backend: Backend) -> Sequence[Store]:
        return await self._ask(backend, service_caller(self._signer.issuer), ASK_SECONDS)

    async def _ask(self, backend: Backend, caller: Caller, seconds: float) -> Sequence[Store]:
        stub = StoreServiceStub(backend.channel)
        metadata = call_metadata(self._signer.mint(caller, backend.audience))
        try:
            response = await stub.ListStores(ListStoresRequest(), timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise backend.error_of(error) from error
        return response.stores
