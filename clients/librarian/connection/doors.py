"""The ways bytes can stream: a store's own data door, else the gateway. Proven by trying, never by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from librarian.api.store.v1 import store_pb2
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.connection.address import Address, is_loopback
from librarian.connection.channel import Metadata, SiteChannel, open_channel, reachable, store_metadata

if TYPE_CHECKING:
    # Known to type checkers only.
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

# A door that does not open this fast is behind a firewall, or not meant for us.
DOOR_SECONDS = 3.0

_WRITE_UPLOAD = "/librarian.api.store.v1.StoreService/WriteUpload"
_READ_DATASET = "/librarian.api.store.v1.StoreService/ReadDataset"


@dataclass(frozen=True, slots=True)
class Door:
    """One way to a store's bytes. `write` and `read` carry messages as bytes: what is inside them is
    put together and taken apart in a thread, not on the event loop.
    """

    way: str
    stub: StoreServiceAsyncStub
    metadata: Metadata
    write: grpc.aio.StreamUnaryMultiCallable[bytes, store_pb2.WriteUploadResponse]
    read: grpc.aio.UnaryStreamMultiCallable[store_pb2.ReadDatasetRequest, bytes]


class Doors:
    """The doors of one store, by one grant. Kept open between attempts; `async with`."""

    def __init__(self, site: SiteChannel, store: str, data_address: str, ticket: str) -> None:
        self._site = site
        self._store = store
        self._ticket = ticket
        self._address = self._door_address(data_address) if data_address else None
        self._channel: grpc.aio.Channel | None = None

    def renew(self, ticket: str) -> None:
        self._ticket = ticket

    async def open(self) -> Door:
        """The best door that answers now."""
        if self._address is not None:
            if self._channel is None:
                self._channel = open_channel(self._address, self._site.settings)
            if await reachable(self._channel, DOOR_SECONDS):
                # The ticket is enough there: the token stays between us and the gateway.
                return _door("data door", self._channel, [("librarian-ticket", self._ticket)])
        metadata = self._site.metadata(store_metadata(self._store, self._ticket))
        return _door("gateway", self._site.channel, metadata)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _door_address(self, text: str) -> Address:
        """Plain only on this machine, or where the way to the gateway is plain as well."""
        host, _, port = text.rpartition(":")
        # A door that says it listens everywhere is where the gateway is.
        if host in {"0.0.0.0", "[::]"}:  # noqa: S104 - read here, not bound
            host = self._site.settings.address.target.rpartition(":")[0]
        secure = self._site.settings.address.secure and not is_loopback(host)
        return Address(f"{host}:{port}", secure=secure, text=f"{host}:{port}")


@asynccontextmanager
async def opened_doors(site: SiteChannel, store: str, data_address: str, ticket: str) -> AsyncIterator[Doors]:
    doors = Doors(site, store, data_address, ticket)
    try:
        yield doors
    finally:
        await asyncio.shield(doors.close())


def _door(way: str, channel: grpc.aio.Channel, metadata: Metadata) -> Door:
    return Door(
        way,
        StoreServiceStub(channel),
        metadata,
        channel.stream_unary(_WRITE_UPLOAD, response_deserializer=store_pb2.WriteUploadResponse.FromString),
        channel.unary_stream(
            _READ_DATASET, request_serializer=store_pb2.ReadDatasetRequest.SerializeToString
        ),
    )
