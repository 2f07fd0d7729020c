"""Keeps the services of a site running: starts them, watches them, starts them again, stops them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from standalone.children import Child, Children
from standalone.errors import ServiceFailed
from standalone.logs import tail
from standalone.restarts import RestartPolicy, describe_exit

START_SECONDS = 60.0
# How long one may go on after SIGTERM: it finishes calls under way and hands back its leases.
STOP_SECONDS = 15.0
CHECK_SECONDS = 10.0
# So many checks in a row without an answer, and it is taken for hung.
SILENT_CHECKS = 6
_FIRST_PROBE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Watched:
    """`ready`: it does its work; `alive`: its event loop still turns, which is cheap to ask for ever."""

    name: str
    ready: Callable[[], Awaitable[bool]]
    alive: Callable[[], Awaitable[bool]]
    log: Path


class Supervisor:
    """`services` in the order in which they are to be stopped. `say` gets what a person should know."""

    def __init__(
        self,
        services: Sequence[Watched],
        children: Children,
        *,
        say: Callable[[str], None],
        policy: RestartPolicy | None = None,
    ) -> None:
        self._services = services
        self._children = children
        self._say = say
        self._policy = policy or RestartPolicy()
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts all at once; returns when all are ready. ServiceFailed for the first that is not."""
        starts = [asyncio.create_task(self._first_start(service)) for service in self._services]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def stop(self) -> None:
        """One after another, in order. One that does not end in time is killed."""
        self._stopping.set()
        for service in self._services:
            child = self._children.running(service.name)
            if child is not None:
                await self._end(service, child)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def hurry(self) -> None:
        """Kills what still runs: somebody does not want to wait."""
        for service in self._services:
            self._children.signal(service.name, signal.SIGKILL)

    async def _first_start(self, service: Watched) -> None:
        child = await self._children.start(service.name)
        started = time.monotonic()
        if not await self._until_ready(service, child):
            raise ServiceFailed(
                f"{service.name} {describe_exit(child.ended.result())} at its start; "
                f"its log ends with: {tail(service.log)}",
                remedy=f"read {service.log}",
                service=service.name,
            )
        keeper = asyncio.create_task(self._keep(service, child, started), name=f"keep-{service.name}")
        self._keepers.append(keeper)

    async def _keep(self, service: Watched, child: Child, started: float) -> None:
        failures = 0
        while True:
            status = await self._watch(service, child)
            if self._stopping.is_set():
                return
            failures = self._policy.failures_after(failures, ran_seconds=time.monotonic() - started)
            delay = self._policy.delay(failures)
            self._say(f"{service.name} {describe_exit(status)}; starting it again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
                return
            started = time.monotonic()
            child = await self._children.start(service.name)
            if await self._until_ready(service, child):
                self._say(f"{service.name} is back after {time.monotonic() - started:.1f} s")

    async def _watch(self, service: Watched, child: Child) -> int:
        """Its exit code, once it has ended or was killed because it no longer answers."""
        silent = 0
        while not child.ended.done():
            await asyncio.wait([child.ended], timeout=CHECK_SECONDS)
            if child.ended.done():
                break
            silent = 0 if await service.alive() else silent + 1
            if silent >= SILENT_CHECKS:
                self._say(f"{service.name} has not answered for {silent * CHECK_SECONDS:.0f} s; killing it")
                self._children.signal(service.name, signal.SIGKILL)
                silent = 0
        return child.ended.result()

    async def _until_ready(self, service: Watched, child: Child) -> bool:
        """False when it ended first; it is killed when it takes too long."""
        pause = _FIRST_PROBE_SECONDS
        deadline = time.monotonic() + START_SECONDS
        while not child.ended.done():
            if await service.ready():
                return True
            if time.monotonic() > deadline:
                self._say(f"{service.name} is not ready after {START_SECONDS:.0f} s; killing it")
                self._children.signal(service.name, signal.SIGKILL)
                deadline += START_SECONDS
            await asyncio.wait([child.ended], timeout=pause)
            pause = min(pause * 1.5, 1.0)
        return False

    async def _end(self, service: Watched, child: Child) -> None:
        self._children.signal(service.name, signal.SIGTERM)
        await asyncio.wait([child.ended], timeout=STOP_SECONDS)
        if not child.ended.done():
            self._say(f"{service.name} did not stop within {STOP_SECONDS:.0f} s; killing it")
            self._children.signal(service.name, signal.SIGKILL)
            await child.ended
