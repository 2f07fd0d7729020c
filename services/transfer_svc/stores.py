"""The site's stores as seen from here: what each says of itself, and which service to call for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError, StoreNotFound, Unavailable
from svckit.clock import Clock
from transfer_svc.messages import store_view
from transfer_svc.planning import StoreView

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

# A plan may rest on what was said this long ago (s): a store that has filled up since says so itself.
FRESH_SECONDS: Final = 1.0
# How long a service may take to tell; one that was silent the last time delays nobody much again.
_LIST_SECONDS: Final = 5.0
_IMPATIENT_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Listing:
    """`silent`: store services that did not answer, with the reason."""

    stores: tuple[StoreView, ...]
    silent: Mapping[str, str]
    time: float


class Stores:
    """`services`: the stub of each store service by its name in the settings."""

    def __init__(self, services: Mapping[str, StoreServiceAsyncStub], clock: Clock) -> None:
        self._services = dict(services)
        self._clock = clock
        self._home: dict[str, str] = {}
        self._listing: Listing | None = None
        self._asking: asyncio.Task[Listing] | None = None

    async def listing(self, *, fresh: bool = False) -> Listing:
        """All stores of all services that answer; up to a second old unless `fresh`."""
        known = self._listing
        if known is not None and not fresh and self._clock.monotonic() - known.time < FRESH_SECONDS:
            return known
        # Callers that come together share one round of questions.
        if fresh or self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def service_of(self, store: str) -> StoreServiceAsyncStub:
        """The stub to call for this store. Raises StoreNotFound, or Unavailable while not all answer."""
        if store not in self._home:
            if len(self._services) == 1:
                return next(iter(self._services.values()))
            listing = await self.listing(fresh=True)
            if store not in self._home:
                if listing.silent:
                    raise Unavailable(f"no store service that answers has the store {store}", store=store)
                raise StoreNotFound(f"there is no store {store}", store=store)
        return self._services[self._home[store]]

    async def _ask_all(self) -> Listing:
        time = self._clock.monotonic()
        names = list(self._services)
        silent_before = self._listing.silent if self._listing else {}
        answers = await asyncio.gather(
            *(
                self._ask(name, _IMPATIENT_SECONDS if name in silent_before else _LIST_SECONDS)
                for name in names
            )
        )
        silent = {
            name: answer.message
            for name, answer in zip(names, answers, strict=True)
            if isinstance(answer, LibrarianError)
        }
        stores: list[StoreView] = []
        for name, answer in zip(names, answers, strict=True):
            if not isinstance(answer, LibrarianError):
                stores += answer
                self._home.update(dict.fromkeys((store.name for store in answer), name))
        self._listing = Listing(tuple(stores), silent, time)
        return self._listing

    async def _ask(self, service: str, seconds: float) -> list[StoreView] | LibrarianError:
        try:
            response = await self._services[service].ListStores(
                store_pb2.ListStoresRequest(), timeout=seconds
            )
        except LibrarianError as error:
            return error
        return [store_view(store) for store in response.stores]
