"""The store service behind its real doors: a unix socket for services, TCP for bytes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import grpc

from librarian.api.common.v1 import common_pb2 as common
from librarian.api.store.v1 import store_pb2 as pb
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.rpc import channel_options, error_from_rpc
from store_svc.app import build
from svckit.auth import ISSUERS, Caller, Role, Signer
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.server import Runtime, serving
from svckit.settings import Settings, settings_from

CHUNK = 1 << 20


def request_id() -> str:
    return str(uuid.uuid4())


def chunks(
    upload_id: str, data: bytes, path: str = "", size: int = CHUNK, start: int = 0
) -> Iterator[pb.WriteUploadRequest]:
    """A whole member, or what is left of it from `start` on."""
    offsets = list(range(start, len(data), size)) or [start]
    for offset in offsets:
        piece = data[offset : offset + size]
        yield pb.WriteUploadRequest(
            upload_id=upload_id,
            path=path,
            kind=common.MEMBER_KIND_FILE,
            offset=offset,
            data=piece,
            crc32c=google_crc32c.value(piece),
            mode=0o640,
            mtime_ns=1_700_000_000_000_000_001,
            last=offset + size >= len(data),
        )


@dataclass
class Served:
    """`store`: as the transfer service calls it; `door`: the data door, without any token."""

    directory: Path
    root: Path
    store: Any
    door: Any
    door_address: str
    settings: Settings
    clients: list[ServiceChannels] = field(default_factory=list)

    async def add_store(self, name: str = "main", **fields: Any) -> pb.Store:
        root = self.root if name == "main" else self.directory / name
        root.mkdir(exist_ok=True)
        wanted: dict[str, Any] = {"enabled": True, "ingestible": True, "fill_fraction": 1.0, **fields}
        request = pb.AddStoreRequest(
            request_id=request_id(), store=pb.Store(name=name, root=str(root), **wanted)
        )
        return (await self.store.AddStore(request)).store

    async def begin(self, *specs: pb.UploadSpec, token_id: str = "t1") -> pb.BeginUploadsResponse:
        return await self.store.BeginUploads(
            pb.BeginUploadsRequest(
                request_id=request_id(), store="main", uploads=specs, token_id=token_id, subject="alice"
            )
        )

    async def write(self, ticket: str, messages: Sequence[pb.WriteUploadRequest]) -> pb.WriteUploadResponse:
        try:
            return await self.door.WriteUpload(iter(messages), metadata=(("librarian-ticket", ticket),))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def get_upload(self, ticket: str, upload_id: str, **fields: Any) -> pb.GetUploadResponse:
        try:
            return await self.door.GetUpload(
                pb.GetUploadRequest(upload_id=upload_id, **fields), metadata=(("librarian-ticket", ticket),)
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def files(self, ticket: str, upload_id: str) -> list[pb.UploadedFile]:
        return list((await self.get_upload(ticket, upload_id)).files)

    async def read(self, ticket: str, uid: str, *ranges: pb.ReadRange) -> list[pb.ReadDatasetResponse]:
        request = pb.ReadDatasetRequest(uid=uid, ranges=ranges)
        try:
            return [
                one async for one in self.door.ReadDataset(request, metadata=(("librarian-ticket", ticket),))
            ]
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def commit(self, *items: pb.CommitUploadItem, seconds: float = 60) -> list[pb.CommitUploadStatus]:
        answer = await self.store.CommitUploads(
            pb.CommitUploadsRequest(
                request_id=request_id(), store="main", items=items, timeout_ms=int(seconds * 1000)
            )
        )
        return list(answer.statuses)

    def client(self, role: Role, *, prefix: str = "", token_id: str = "t1") -> Any:
        """A stub as the gateway calls it for a client."""
        caller = Caller("alice", role, prefix, token_id)
        signer = Signer.load(self.directory, "gateway")
        self.clients.append(ServiceChannels(self.settings, signer, caller=caller))
        return self.clients[-1].store("store")


@asynccontextmanager
async def served(dsn: str, directory: Path) -> AsyncIterator[Served]:
    ensure_keys(directory, ISSUERS)
    address = f"unix:{directory}/store.sock"
    services = {"transfer": address, "stores": {"store": address}}
    settings = settings_from(
        {
            "auth": {"keys_dir": str(directory)},
            "database": {"dsn": dsn},
            "store": {"listen": address, "data_listen": "127.0.0.1:0"},
            "services": services,
            "server": {"drain_seconds": 0.0, "grace_seconds": 2.0},
        }
    )
    runtime = Runtime("store", settings)
    async with serving(runtime, build):
        door_address = next(door.address for door in runtime.doors if door.name == "store-data")
        async with (
            ServiceChannels(settings, Signer.load(directory, "transfer")) as channels,
            grpc.aio.insecure_channel(door_address, options=channel_options()) as channel,
        ):
            found = Served(
                directory,
                directory / "root",
                channels.store("store"),
                StoreServiceStub(channel),
                door_address,
                settings,
            )
            try:
                yield found
            finally:
                await asyncio.gather(*(one.__aexit__() for one in found.clients))
