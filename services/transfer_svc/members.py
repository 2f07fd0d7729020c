"""The member list of a directory, from the store that verified it to the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.errors import LibrarianError

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub


async def send_members(
    catalog: CatalogServiceAsyncStub, service: StoreServiceAsyncStub, *, store: str, uid: str
) -> None:
    """Part by part: a million members are never held at once. Doing it again is harmless."""
    failures: list[LibrarianError] = []

    async def requests() -> AsyncIterator[catalog_pb2.AddMembersRequest]:
        # gRPC turns an exception of its request iterator into a bare CANCELLED: it is carried past.
        try:
            async for part in service.ReadManifest(store_pb2.ReadManifestRequest(store=store, uid=uid)):
                yield catalog_pb2.AddMembersRequest(uid=uid, members=part.members)
        except LibrarianError as error:
            failures.append(error)

    await catalog.AddMembers(requests())
    if failures:
        raise failures[0]
