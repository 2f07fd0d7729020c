"""A site while it runs: the part that has an event loop. Imported before the fork, run after it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from functools import partial

from standalone import console, databases, probes
from standalone.children import Children
from standalone.early_stop import STOPS
from standalone.errors import PostgresFailed
from standalone.first_store import add_first_store
from standalone.home import Home
from standalone.logs import rotate
from standalone.postgres import START_SECONDS, EmbeddedPostgres
from standalone.restarts import RestartPolicy
from standalone.site import Options
from standalone.site_files import SERVICES, Places, Service, clock_of, write_settings
from standalone.supervisor import Supervisor, Watched
from svckit.auth import ISSUERS
from svckit.keys import ensure_keys

DATABASE = "librarian"
# Tests kill again and again, and that says nothing about the next start.
_IMPATIENT = RestartPolicy(ceiling_seconds=0.1)
_TICK_SECONDS = 1.0
_ROTATE_SECONDS = 30.0
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0


class Running:
    def __init__(
        self, home: Home, name: str, places: Places, postgres: EmbeddedPostgres | None, options: Options
    ) -> None:
        self._home = home
        self._name = name
        self._places = places
        self._postgres = postgres
        self._options = options
        self._policy = _IMPATIENT if options.throwaway else RestartPolicy()
        self._asked_to_stop = asyncio.Event()

    async def run(self, control: socket.socket) -> int:
        """0 when it was asked to stop. LibrarianError when it cannot start or go on."""
        children = Children(control)
        watched = [self._watched(service) for service in SERVICES]
        supervisor = Supervisor(watched, children, say=console.say, policy=self._policy)
        self._listen_to_signals(supervisor)
        await children.open()
        asked = asyncio.create_task(self._asked_to_stop.wait(), name="asked-to-stop")
        side = [asked, asyncio.create_task(self._watch_owner(), name="owner")]
        working = asyncio.create_task(self._work(supervisor), name="site")
        lost = asyncio.create_task(children.lost(), name="fork-server-lost")
        try:
            await asyncio.wait({working, asked, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                lost.result()
            if working.done():
                working.result()
        finally:
            for task in (*side, working, lost):
                task.cancel()
            await asyncio.gather(*side, working, lost, return_exceptions=True)
            await supervisor.stop()
            await children.close()
        return 0

    async def _work(self, supervisor: Supervisor) -> None:
        await self._prepare()
        await supervisor.start()
        door, clock = self._places.listen("store"), clock_of(self._home)
        await add_first_store(door, self._home.keys, self._home.store, clock)
        self._tell_ready()
        await self._look_after_postgres_and_logs()

    async def _prepare(self) -> None:
        dsn = self._options.database_dsn
        if self._postgres is not None:
            await _until_ready(self._postgres)
            await databases.make_database(self._postgres.dsn(), DATABASE)
            dsn = self._postgres.dsn(DATABASE)
        passwords = {schema: self._home.secret(f"{schema}.password") for schema in databases.SCHEMAS}
        logins = await databases.make_logins(dsn, passwords)
        ensure_keys(self._home.keys, (*ISSUERS, "site"))
        write_settings(self._home, self._name, self._places, {s.name: logins[s.schema] for s in SERVICES})

    def _tell_ready(self) -> None:
        context = {
            "site": self._name,
            "address": self._places.address,
            "token_file": str(self._home.admin_token_file),
        }
        unfinished = self._home.context_file.with_suffix(".new")
        unfinished.write_text(json.dumps(context, indent=2) + "\n")
        unfinished.replace(self._home.context_file)
        console.welcome(self._name, self._places.address, self._home)
        if self._options.control is not None:
            told = {"ready": {**context, "home": str(self._home.root), "pid": os.getpid()}}
            os.write(self._options.control, json.dumps(told).encode() + b"\n")

    async def _look_after_postgres_and_logs(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rotate_logs())
            if self._postgres is not None:
                group.create_task(self._keep_postgres(self._postgres))

    async def _rotate_logs(self) -> None:
        while True:
            try:
                await asyncio.to_thread(rotate, self._home.logs)
            except OSError as error:
                console.say(f"the logs could not be rotated: {error}")
            await asyncio.sleep(_ROTATE_SECONDS)

    async def _keep_postgres(self, postgres: EmbeddedPostgres) -> None:
        """Starts it again whenever it has ended, for as long as it takes: a full disk may be emptied."""
        failures = 0
        started = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if postgres.running():
                continue
            failures = self._policy.failures_after(failures, ran_seconds=time.monotonic() - started)
            delay = self._policy.delay(failures)
            console.say(f"PostgreSQL has ended; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)
            started = time.monotonic()
            try:
                # Here, in the main thread: it is told to stop when the thread that started it ends.
                postgres.launch()
                await _until_ready(postgres)
            except (PostgresFailed, OSError) as error:
                console.say(str(error))
            else:
                console.say(f"PostgreSQL is back after {time.monotonic() - started:.1f} s")

    def _listen_to_signals(self, supervisor: Supervisor) -> None:
        def asked() -> None:
            if self._asked_to_stop.is_set():
                supervisor.hurry()
                return
            console.say("stopping; once more to stop without waiting")
            self._asked_to_stop.set()

        for number in STOPS:
            asyncio.get_running_loop().add_signal_handler(number, asked)

    async def _watch_owner(self) -> None:
        """Stops the site when the program that started it has closed its end, or died."""
        if self._options.control is None:
            return
        reader, _ = await asyncio.open_unix_connection(
            sock=socket.socket(fileno=os.dup(self._options.control))
        )
        await reader.read()
        self._asked_to_stop.set()

    def _watched(self, service: Service) -> Watched:
        alive = partial(probes.healthz_serving, self._places.metrics(service.name).removeprefix("unix:"))

        async def ready() -> bool:
            """Its own socket first: on a TCP port somebody else may be answering."""
            if not await alive():
                return False
            return not service.serves_rpc or await probes.rpc_serving(self._places.listen(service.name))

        return Watched(service.name, ready, alive, self._home.logs / f"{service.name}.log")


async def _until_ready(postgres: EmbeddedPostgres) -> None:
    """PostgresFailed when it has ended, or takes too long."""
    began = time.monotonic()
    told = False
    while not postgres.ready():
        waited = time.monotonic() - began
        if waited > START_SECONDS:
            raise PostgresFailed(f"PostgreSQL is not ready after {START_SECONDS:.0f} s")
        if waited > _PATIENCE_SECONDS and not told:
            console.say("PostgreSQL is still starting; after a crash it has its log to read again")
            told = True
        await asyncio.sleep(_POLL_SECONDS)
