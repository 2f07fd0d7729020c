"""The servers: a gateway, and a data door that serves the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import grpc

from librarian.api.catalog.v1 import catalog_pb2_grpc
from librarian.api.gateway.v1 import gateway_pb2_grpc
from librarian.api.store.v1 import store_pb2_grpc
from librarian.api.transfer.v1 import transfer_pb2_grpc
from librarian.client import Librarian
from librarian.connection.address import parse_address
from librarian.connection.settings import ConnectionSettings
from support.client_site.catalog import Catalog, Gateway
from support.client_site.flow import Peers
from support.client_site.state import State
from support.client_site.store import Store
from support.client_site.transfer import Transfer

TOKEN = "lib_secret"


class ClientSite:
    def __init__(self, root: Path) -> None:
        self.state = State(root)
        self.transfer = Transfer(self.state)
        self.store = Store(self.state)
        self.catalog = Catalog(self.state)
        self.peers = Peers(self.state)
        self.address = ""
        self._servers: list[grpc.aio.Server] = []

    async def __aenter__(self) -> Self:
        gateway = grpc.aio.server()
        transfer_pb2_grpc.add_TransferServiceServicer_to_server(self.transfer, gateway)
        store_pb2_grpc.add_StoreServiceServicer_to_server(self.store, gateway)
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(self.catalog, gateway)
        gateway_pb2_grpc.add_SiteServiceServicer_to_server(Gateway(self.state), gateway)
        gateway_pb2_grpc.add_PeerServiceServicer_to_server(self.peers, gateway)
        self.address = f"127.0.0.1:{gateway.add_insecure_port('127.0.0.1:0')}"
        door = grpc.aio.server()
        store_pb2_grpc.add_StoreServiceServicer_to_server(self.store, door)
        self.state.door_address = f"127.0.0.1:{door.add_insecure_port('127.0.0.1:0')}"
        self._servers = [gateway, door]
        for server in self._servers:
            await server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            await server.stop(None)

    def settings(self) -> ConnectionSettings:
        return ConnectionSettings(parse_address(self.address), TOKEN, "the test")

    def client(self) -> Librarian:
        return Librarian(self.settings())
