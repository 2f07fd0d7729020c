"""A service in a process of its own: `python served_process.py NAME --config FILE`.

NAME "catalog" serves; "dies" has a background task that raises once the file beside the settings is
there; "stubborn" cannot start; "slow" never gets to serve.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.catalog.v1 import catalog_pb2_grpc as rpc
from librarian.errors import Refused
from svckit.server import Runtime, ServicerRegistration, main

CATALOG = "librarian.api.catalog.v1.CatalogService"


class Servicer(rpc.CatalogServiceServicer):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def GetSummary(self, _request: Any, _context: Any) -> pb.GetSummaryResponse:  # noqa: N802
        self._runtime.faults.hit("summary")
        return pb.GetSummaryResponse(dataset_count=1)

    async def WatchEvents(self, _request: Any, _context: Any) -> AsyncIterator[pb.WatchEventsResponse]:  # noqa: N802
        yield pb.WatchEventsResponse()
        await self._runtime.stopping.wait()
        yield pb.WatchEventsResponse(next=pb.EventCursor(sequence=1))


@asynccontextmanager
async def build(runtime: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    async def die() -> None:
        trigger = Path(runtime.settings.auth.keys_dir) / "die"
        while not trigger.exists():  # noqa: ASYNC110 - told by another process
            await asyncio.sleep(0.01)
        raise ValueError("as told")

    if behaviour == "stubborn":
        raise Refused("will not", remedy="ask nicely")
    if behaviour == "slow":
        (Path(runtime.settings.auth.keys_dir) / "starting").touch()
        await asyncio.Event().wait()
    if behaviour == "dies":
        runtime.spawn("mortal", die())
    add = rpc.add_CatalogServiceServicer_to_server
    yield [ServicerRegistration((CATALOG,), lambda server: add(Servicer(runtime), server))]
    runtime.logger.info("closed_in_order")


if __name__ == "__main__":
    behaviour = sys.argv[1]
    sys.exit(main("catalog", build, sys.argv[2:]))
