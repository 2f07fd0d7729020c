"""The places where bytes are."""

from __future__ import annotations

from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from librarian.api.store.v1 import store_pb2
from librarian.client.base import ClientBase
from librarian.connection.channel import store_metadata
from librarian.names import check_store_name


class StoresClient(ClientBase):
    async def stores(self) -> list[store_pb2.Store]:
        """In placement order."""
        answer = await self._site.unary(self._site.store.ListStores, store_pb2.ListStoresRequest())
        return list(answer.stores)

    async def add_store(self, store: store_pb2.Store, *, service: str = "") -> store_pb2.Store:
        """Adopts the directory `store.root` (as the store service sees it), which may have data in it, as
        a store. `service`: which store service, where the site has more than one.
        """
        check_store_name(store.name)
        request = store_pb2.AddStoreRequest(request_id=str(uuid4()), store=store)
        metadata = [("librarian-store-service", service)] if service else []
        return (await self._site.unary(self._site.store.AddStore, request, metadata=metadata)).store

    async def update_store(self, store: store_pb2.Store, fields: list[str]) -> store_pb2.Store:
        """Sets those fields of the store named in `store.name` to what they are there."""
        request = store_pb2.UpdateStoreRequest(
            request_id=str(uuid4()), store=store, update_mask=FieldMask(paths=fields)
        )
        metadata = store_metadata(check_store_name(store.name))
        return (await self._site.unary(self._site.store.UpdateStore, request, metadata=metadata)).store

    async def drain_store(self, name: str, *, drain: bool = True) -> store_pb2.Store:
        """A drained store takes no new data; what is there can be read. `drain=False` ends that."""
        return await self.update_store(store_pb2.Store(name=name, ingestible=not drain), ["ingestible"])
