"""A new site gets a store, so that the first `put` has somewhere to go."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import grpc

from librarian.api.store.v1 import store_pb2, store_pb2_grpc
from svckit.auth import Signer
from svckit.clock import Clock

NAME = "main"
_DEADLINE_SECONDS = 30.0


async def add_first_store(address: str, keys: Path, root: Path, clock: Clock) -> None:
    """Adds `root` as the store "main" where the site has no store at all; repeating it is harmless."""
    signer = Signer.load(keys, "transfer", clock=clock)
    metadata = (("authorization", f"Bearer {signer.mint_own('store')}"),)
    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub: store_pb2_grpc.StoreServiceAsyncStub = store_pb2_grpc.StoreServiceStub(channel)
        held = await stub.ListStores(
            store_pb2.ListStoresRequest(), metadata=metadata, timeout=_DEADLINE_SECONDS
        )
        if held.stores:
            return
        store = store_pb2.Store(
            name=NAME,
            root=str(root),
            store_class=store_pb2.STORE_CLASS_ONLINE,
            failure_domain=socket.gethostname(),
            enabled=True,
            ingestible=True,
        )
        request = store_pb2.AddStoreRequest(request_id=str(uuid.uuid4()), store=store)
        await stub.AddStore(request, metadata=metadata, timeout=_DEADLINE_SECONDS)
