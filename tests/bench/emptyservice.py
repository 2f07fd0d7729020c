"""A service that does nothing, behind the same door as ours: what a call costs without its work.

`python -m tests.bench.emptyservice --config FILE` stands in for a catalog at `catalog.listen`: same
server, same interceptor, same tokens; GetSummary answers an empty message.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from librarian.api.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from librarian.rpc import channel_options
from standalone.toml import dump_toml
from svckit.auth import Signer
from svckit.channels import CallingChannel, call_metadata
from svckit.server import Runtime, ServicerRegistration, main

START_SECONDS = 30.0


class _Nothing(catalog_pb2_grpc.CatalogServiceServicer):
    async def GetSummary(  # noqa: N802
        self, request: catalog_pb2.GetSummaryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> catalog_pb2.GetSummaryResponse:
        return catalog_pb2.GetSummaryResponse()


@dataclass(frozen=True, slots=True)
class EmptyService:
    address: str
    signer: Signer

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[catalog_pb2_grpc.CatalogServiceAsyncStub]:
        async with grpc.aio.insecure_channel(self.address, options=channel_options()) as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
            calls: Any = CallingChannel(channel, lambda: call_metadata(self.signer.mint_own("catalog")))
            yield catalog_pb2_grpc.CatalogServiceStub(calls)


@contextmanager
def running_empty_service(config: Path, directory: Path) -> Iterator[EmptyService]:
    """`config`: the settings of the catalog it stands in for."""
    settings = tomllib.loads(config.read_text())
    address = f"unix:{directory}/empty/catalog.sock"
    settings["catalog"] |= {"listen": address, "metrics_listen": ""}
    settings["telemetry"] = {**settings.get("telemetry", {}), "log_level": "warning"}
    own_config = directory / "empty.toml"
    own_config.write_text(dump_toml(settings))
    command = [sys.executable, "-m", "tests.bench.emptyservice", "--config", str(own_config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield EmptyService(address, Signer.load(Path(settings["auth"]["keys_dir"]), "transfer"))
        finally:
            process.terminate()


@asynccontextmanager
async def _build(_: Runtime) -> AsyncIterator[Sequence[ServicerRegistration]]:
    servicer = _Nothing()  # type: ignore[abstract] # only its type says so; what it lacks answers UNIMPLEMENTED
    service = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name
    yield [
        ServicerRegistration(
            (service,),
            lambda server: catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server),
        )
    ]


if __name__ == "__main__":
    sys.exit(main("catalog", _build))
