"""Which store lives behind which store service, as the services themselves say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.backends import Backend
from gateway.storelists import Answer, homes
from librarian.api.store.v1.store_pb2 import Store
from librarian.errors import LibrarianError, StoreExists, StoreNotFound, Unavailable

# Asks one store service for its stores; raises LibrarianError.
Ask = Callable[[Backend], Awaitable[Sequence[Store]]]


class StoreDirectory:
    """Learned by asking all store services; asked again when a store is not in it."""

    def __init__(self, services: Mapping[str, Backend], ask: Ask) -> None:
        self._services = services
        self._ask = ask
        self._last: dict[str, Answer] = {name: Answer(()) for name in services}
        self._homes: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._begun = 0
        self._ended = 0

    async def service_of(self, store: str) -> Backend:
        """Raises StoreNotFound, or Unavailable while a service that might have it does not answer."""
        service = self._homes.get(store)
        if service is None:
            await self._learn()
            service = self._homes.get(store)
        if service is None:
            raise self._unknown(store)
        return self._services[service]

    async def check_new(self, store: str, service: Backend) -> None:
        """Raises StoreExists where another service has a store of this name: calls could not tell them
        apart.
        """
        await self._learn()
        home = self._homes.get(store)
        if home is not None and self._services[home] is not service:
            raise StoreExists(
                f"{self._services[home].title} has a store called {store} already",
                remedy="choose another name: it is the site's, not the service's",
                store=store,
            )

    async def ask_all(self, ask: Ask) -> dict[str, Answer]:
        """What every store service answers now, by its name."""
        names = list(self._services)
        found = await asyncio.gather(*(self._answer(name, ask) for name in names))
        answers = dict(zip(names, found, strict=True))
        self._last.update(answers)
        self._homes = homes(self._last)
        return answers

    async def _answer(self, name: str, ask: Ask) -> Answer:
        try:
            return Answer(await ask(self._services[name]))
        except LibrarianError as error:
            return Answer(self._last[name].stores, trouble=error.message)

    async def _learn(self) -> None:
        """Returns after an asking that began after the call: those who come together share one."""
        begun = self._begun
        async with self._lock:
            if self._ended > begun:
                return
            self._begun += 1
            number = self._begun
            await self.ask_all(self._ask)
            self._ended = number

    def _unknown(self, store: str) -> LibrarianError:
        silent = [self._services[name].title for name, answer in self._last.items() if answer.trouble]
        if not silent:
            return StoreNotFound(f"this site has no store called {store}", store=store)
        return Unavailable(
            f"no store service that answers has a store called {store}, and {', '.join(silent)} does not",
            remedy=f"try again in a moment; if it lasts, start {', '.join(silent)} and read its log",
            store=store,
        )
