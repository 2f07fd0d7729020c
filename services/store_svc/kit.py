"""What every use case of the store works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from librarian.errors import StoreDisabled, StoreNotFound
from librarian.names import printable
from store_svc.filesystem import FileSystem
from store_svc.identity import OpenRoot, StoreRoot
from store_svc.queries import stores as queries
from store_svc.records import Store
from store_svc.tickets import TicketOffice
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.faults import Faults
from svckit.sections import StoreSettings
from svckit.telemetry import Logger

T = TypeVar("T")
IO_THREADS: Final = 16


class Threads:
    """Two bounded pools: one that keeps the cores busy, one that waits for disks."""

    def __init__(self, hash_threads: int) -> None:
        self.hash_threads = hash_threads
        self._cpu = ThreadPoolExecutor(hash_threads, thread_name_prefix="store-cpu")
        self._io = ThreadPoolExecutor(IO_THREADS, thread_name_prefix="store-io")

    async def hash(self, work: Callable[..., T], *args: Any) -> T:
        return await _whole(asyncio.get_running_loop().run_in_executor(self._cpu, work, *args))

    async def io(self, work: Callable[..., T], *args: Any) -> T:
        return await _whole(asyncio.get_running_loop().run_in_executor(self._io, work, *args))

    def start_hash(self, work: Callable[..., T], *args: Any) -> Future[T]:
        return self._cpu.submit(work, *args)

    def start_io(self, work: Callable[..., T], *args: Any) -> Callable[[], T]:
        """For a thread of the other pool: begins now, and the answer waits for it."""
        return self._io.submit(work, *args).result

    def close(self) -> None:
        for pool in (self._cpu, self._io):
            pool.shutdown(wait=True, cancel_futures=True)


async def _whole(future: asyncio.Future[T]) -> T:
    """Its result. Cancellation waits until the thread is done: it may be using descriptors that the
    caller closes on its way out, and a closed number soon means another file.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise


async def together(*works: Awaitable[T]) -> list[T]:
    """All results, in order. An error comes out only when all have ended: none is left to work with what
    the caller closes.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes  # type: ignore[return-value] # errors were sorted out above


class Roots:
    """One StoreRoot a store, so that its lock is taken once."""

    def __init__(self) -> None:
        self._roots: dict[str, StoreRoot] = {}

    def of(self, store: Store) -> StoreRoot:
        found = self._roots.get(store.name)
        if found is None or found.store_uid != store.store_uid:
            found = self._roots[store.name] = StoreRoot(store.name, store.root, store.store_uid)
        return found

    def release(self, name: str) -> None:
        """Lets go of a store that was turned off: its file system can be unmounted."""
        found = self._roots.get(name)
        if found is not None:
            found.release()

    def close(self) -> None:
        for root in self._roots.values():
            root.release()


@dataclass(slots=True)
class Kit:
    """`data_address`: the data door as clients reach it; "" while there is none."""

    database: Database
    clock: Clock
    ids: Ids
    faults: Faults
    logger: Logger
    settings: StoreSettings
    filesystem: FileSystem
    threads: Threads
    tickets: TicketOffice
    data_address: str = ""
    roots: Roots = field(default_factory=Roots)
    # Held while an area's last user is looked for and the area removed, or made: never both at once.
    area_locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    # Held while what lies at final paths, and the rows that tell of it, change.
    place_locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def store(self, name: str) -> Store:
        """Raises StoreNotFound, StoreDisabled."""
        async with self.database.transaction() as connection:
            found = await queries.get_store(connection, name)
        if found is None:
            raise StoreNotFound(f"there is no store {printable(name)!r} here", store=printable(name))
        if not found.enabled:
            raise StoreDisabled(f"store {name} is turned off", store=name)
        return found

    @asynccontextmanager
    async def open_root(self, store: Store) -> AsyncIterator[OpenRoot]:
        """Raises StoreIdentity."""
        manager = self.roots.of(store).open()
        opened = await self.threads.io(manager.__enter__)
        try:
            yield opened
        finally:
            await self.threads.io(manager.__exit__, None, None, None)
