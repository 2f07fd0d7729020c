"""Which service a call belongs to: by the method's service, and for stores by what the client names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.backends import Backend, Backends
from gateway.directory import StoreDirectory
from gateway.metadata import STORE_KEY, STORE_SERVICE_KEY, Pair, value_of
from gateway.methods import (
    ADD_STORE,
    CATALOG_SERVICE,
    FEDERATION_SERVICE,
    SHIPMENT_SERVICE,
    TRANSFER_SERVICE,
    Method,
)
from librarian.errors import InvalidInput, NoStore, NotFound


class Router:
    """Finds the backend of each call."""

    def __init__(self, backends: Backends, directory: StoreDirectory) -> None:
        self._backends = backends
        self._directory = directory
        self._by_service = {
            CATALOG_SERVICE: backends.catalog,
            TRANSFER_SERVICE: backends.transfer,
            SHIPMENT_SERVICE: backends.transfer,
            FEDERATION_SERVICE: backends.transfer,
        }

    async def route(self, method: Method, metadata: Iterable[Pair]) -> Backend:
        """Raises StoreNotFound, NotFound, NoStore, InvalidInput (it must be said which) or Unavailable."""
        found = self._by_service.get(method.service)
        if found is not None:
            return found
        pairs = list(metadata)
        if method.path == ADD_STORE:
            return chosen_service(self._backends.stores, value_of(pairs, STORE_SERVICE_KEY))
        store = value_of(pairs, STORE_KEY)
        if store:
            return await self._directory.service_of(store)
        return only_service(
            self._backends.stores, f"send the metadata `{STORE_KEY}: NAME` of the store meant"
        )


def chosen_service(stores: Mapping[str, Backend], name: str) -> Backend:
    """The store service of this name, or the only one where none is named."""
    if not name:
        names = ", ".join(stores)
        return only_service(stores, f"send the metadata `{STORE_SERVICE_KEY}: NAME`, one of: {names}")
    found = stores.get(name)
    if found is None:
        raise NotFound(
            f"this site has no store service called {name}",
            remedy=f"use one of: {', '.join(stores)}" if stores else "name it under [services.stores]",
            store_service=name,
        )
    return found


def only_service(stores: Mapping[str, Backend], remedy: str) -> Backend:
    """The only store service there is."""
    if not stores:
        raise NoStore("this site has no store service", remedy="name one under [services.stores]")
    if len(stores) > 1:
        raise InvalidInput("this site has several store services, and the call names none", remedy=remedy)
    (only,) = stores.values()
    return only
