"""From settings to a served process: start, supervise, and stop in order.

SIGTERM: NOT_SERVING -> a short drain while calls are still taken -> no new calls, those under way end ->
background tasks are cancelled -> what `build` opened is closed -> spans are flushed -> exit 0.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import uvloop

from librarian.errors import InvalidConfig, LibrarianError
from svckit.auth import Verifier
from svckit.clock import Clock, Ids, SystemClock, SystemIds
from svckit.doors import Door, ServicerRegistration
from svckit.exposition import exposing
from svckit.faults import Faults, faults_of
from svckit.guard import Authenticator, Guard, service_tokens
from svckit.settings import Settings, WrongSettings, load_settings
from svckit.telemetry import Logger, Metrics, configure_logging, get_logger
from svckit.tracing import Tracing

__all__ = ["Build", "Door", "Runtime", "ServicerRegistration", "main", "run_service", "serving"]


class Runtime:
    """What a service is given: its inputs, and the means to open doors and run tasks beside them."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        faults: Faults | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock or SystemClock(timedelta(seconds=settings.faults.clock_offset_seconds))
        self.ids = ids or SystemIds()
        self.faults = faults or faults_of(settings.faults.file, name)
        self.logger: Logger = get_logger(name)
        self.metrics = Metrics()
        self.tracing = tracing or Tracing.open(settings.telemetry, service=name, site=settings.site.name)
        # Set when a stop begins: long polls and watches end themselves then.
        self.stopping = asyncio.Event()
        self.is_serving = False
        self.doors: list[Door] = []
        # The main door's address once bound, and that of /metrics; "" where there is none.
        self.address = ""
        self.metrics_address = ""
        self.failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._patient: set[asyncio.Task[None]] = set()
        self._on_serving: list[Callable[[], Awaitable[None]]] = []

    def open_door(
        self,
        name: str,
        listen: str,
        *,
        authenticate: Authenticator,
        credentials: grpc.ServerCredentials | None = None,
    ) -> Door:
        """Another port, with its own way to tell who is calling. Bound at once; add servicers to it
        before `build` yields.
        """
        guard = Guard(
            authenticate=authenticate,
            metrics=self.metrics,
            tracing=self.tracing,
            ids=self.ids,
            logger=self.logger,
            unary_seconds=self.settings.server.unary_seconds,
        )
        door = Door(name, listen, guard, self.settings.server, credentials=credentials)
        self.doors.append(door)
        return door

    def spawn(self, name: str, work: Coroutine[Any, Any, None], *, ends_itself: bool = False) -> None:
        """Run `work` beside the doors, until it ends or the service stops, when it is cancelled. One that
        raises stops the service: a process half of which is dead must not look alive.

        `ends_itself`: `work` ends of its own accord once `stopping` is set, and has the settings'
        `grace_seconds` to do so.
        """
        task = asyncio.create_task(work, name=name)
        (self._patient if ends_itself else self._tasks).add(task)
        task.add_done_callback(self._task_ended)

    def on_serving(self, action: Callable[[], Awaitable[None]]) -> None:
        """Await `action` once all doors serve."""
        self._on_serving.append(action)

    async def start_doors(self) -> None:
        for door in self.doors:
            await door.start()
        for action in self._on_serving:
            await action()
        self.is_serving = True
        addresses = {door.name: door.address for door in self.doors}
        self.logger.info("service_serving", addresses=addresses, metrics=self.metrics_address)

    async def stop_doors(self) -> None:
        """Ends calls as the settings of the server say. Again: nothing."""
        server = self.settings.server
        self.is_serving = False
        self.stopping.set()
        doors, self.doors = self.doors, []
        for door in doors:
            await door.refuse_probes()
        if doors and self.failure is None:
            await asyncio.sleep(server.drain_seconds)
        await asyncio.gather(*(door.stop(server.grace_seconds) for door in doors))

    async def stop_tasks(self) -> None:
        """Cancels them, after a while those that end themselves. Again: nothing."""
        if self._patient:
            await asyncio.wait(self._patient, timeout=self.settings.server.grace_seconds)
        tasks = [*self._patient, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._patient.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self.failure = self.failure or task.exception()
        self.logger.critical("background_task_died", task=task.get_name(), exc_info=task.exception())
        self.stopping.set()


# Opens what a service needs, yields what it serves, closes it again.
Build = Callable[[Runtime], AbstractAsyncContextManager[Sequence[ServicerRegistration]]]


@asynccontextmanager
async def serving(runtime: Runtime, build: Build) -> AsyncIterator[Runtime]:
    """The service runs inside; leaving stops it in order. For tests, and for `run_service`."""
    section = getattr(runtime.settings, runtime.name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runtime.tracing.close)
        # Where `build` itself fails; else there is nothing left to stop by then.
        stack.push_async_callback(runtime.stop_tasks)
        stack.push_async_callback(runtime.stop_doors)
        registrations = await stack.enter_async_context(build(runtime))
        runtime.metrics_address = await stack.enter_async_context(
            exposing(section.metrics_listen, runtime.metrics.registry, lambda: runtime.is_serving)
        )
        stack.push_async_callback(runtime.stop_tasks)
        stack.push_async_callback(runtime.stop_doors)
        _open_main_door(runtime, registrations)
        await runtime.start_doors()
        yield runtime


def _open_main_door(runtime: Runtime, registrations: Sequence[ServicerRegistration]) -> None:
    """The port the other services call. The worker has none, and the gateway's is the one it opens
    itself.
    """
    if not registrations:
        return
    listen = getattr(runtime.settings, runtime.name).listen
    if not listen:
        raise InvalidConfig(f"config: {runtime.name}.listen is not set", key=f"{runtime.name}.listen")
    door = runtime.open_door(runtime.name, listen, authenticate=_service_authenticator(runtime))
    runtime.address = door.address
    for registration in registrations:
        door.add(registration)


def run_service(name: str, settings: Settings, build: Build) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 stopped as asked, 1 something died or could not
    start.
    """
    configure_logging(settings.telemetry)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_told(name, settings, build))


def main(name: str, build: Build, argv: Sequence[str] | None = None) -> int:
    """`python -m <service>`: as `run_service`, with the settings of the command line. 2: wrong settings."""
    try:
        settings = load_settings(argv)
    except WrongSettings as error:
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)  # noqa: T201 - no log before settings
        return 2
    return run_service(name, settings, build)


async def _serve_until_told(name: str, settings: Settings, build: Build) -> int:
    logger = get_logger(name)
    runtime = Runtime(name, settings)
    told = _listen_to_signals(runtime)
    try:
        async with serving(runtime, build):
            # What is imported by now stays for good: no collection need look at it again.
            gc.collect()
            gc.freeze()
            await _first(told, runtime.stopping)
            logger.info("service_stopping")
    except LibrarianError as error:
        what = {"reason": error.reason, "message": error.message, "remedy": error.remedy}
        logger.error("service_failed", **what)  # noqa: TRY400 - it says all; a traceback would bury it
        return 1
    except asyncio.CancelledError:
        if not told.is_set():
            raise
    logger.info("service_stopped")
    return 0 if runtime.failure is None else 1


def _listen_to_signals(runtime: Runtime) -> asyncio.Event:
    """Set by SIGTERM and SIGINT. One that comes before the service serves ends the start: it may be
    waiting for a database that does not come.
    """
    told = asyncio.Event()
    task = asyncio.current_task()

    def tell() -> None:
        if not told.is_set() and not runtime.is_serving and task is not None:
            task.cancel()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, tell)
    return told


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _service_authenticator(runtime: Runtime) -> Authenticator:
    keys_dir = runtime.settings.auth.keys_dir
    if not keys_dir:
        raise InvalidConfig("config: auth.keys_dir is not set", key="auth.keys_dir")
    if not any(Path(keys_dir).glob("*.pub")):
        raise InvalidConfig(
            f"config: auth.keys_dir {keys_dir} holds no public keys, so nobody could ever call",
            remedy="put <issuer>.pub of gateway, transfer and worker there",
            key="auth.keys_dir",
        )
    return service_tokens(Verifier.load(Path(keys_dir), runtime.name, clock=runtime.clock))
