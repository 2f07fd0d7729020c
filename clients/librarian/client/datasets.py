"""Asking the catalogue: what is there, what is in it, what happened to it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from enum import StrEnum

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.client.base import ClientBase, paged
from librarian.errors import DatasetNotFound, InvalidInput
from librarian.fetch.manifest import list_members
from librarian.messages import timestamp

PAGE_SIZE = 500
# The first of a dataset's history; in no site's log, but in the statement of its origin.
DATASET_BORN = "DATASET_BORN"
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Order(StrEnum):
    """Of listings; by name unless said otherwise."""

    NAME = "name"
    OLDEST = "oldest"
    NEWEST = "newest"


_ORDERS = {
    Order.NAME: catalog_pb2.DATASET_ORDER_NAME,
    Order.OLDEST: catalog_pb2.DATASET_ORDER_CREATE_TIME,
    Order.NEWEST: catalog_pb2.DATASET_ORDER_CREATE_TIME_DESC,
}


class DatasetsClient(ClientBase):
    async def show(self, name: str) -> catalog_pb2.Dataset:
        """The live dataset of that name, with its copies here and elsewhere; a uid is understood too."""
        try:
            return await self._dataset(catalog_pb2.GetDatasetRequest(name=name))
        except DatasetNotFound:
            if _UID.fullmatch(name) is None:
                raise
            return await self._dataset(catalog_pb2.GetDatasetRequest(uid=name))

    async def ls(
        self,
        prefix: str = "",
        *,
        has_site: str = "",
        lacks_site: str = "",
        order: Order = Order.NAME,
        limit: int | None = None,
        with_replicas: bool = False,
    ) -> AsyncGenerator[catalog_pb2.Dataset, None]:
        """Live datasets whose names start with `prefix`; `has_site` and `lacks_site` as of `find`."""
        found = catalog_pb2.DatasetFilter(name_prefix=prefix, has_site=has_site, lacks_site=lacks_site)
        async for dataset in self._list(found, order, limit, with_replicas=with_replicas):
            yield dataset

    async def find(
        self,
        glob: str = "",
        *,
        tags: Mapping[str, str] | None = None,
        uploader: str = "",
        min_size_bytes: int | None = None,
        max_size_bytes: int | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        has_store: str = "",
        lacks_store: str = "",
        has_site: str = "",
        lacks_site: str = "",
        has_replica_state: str = "",
        order: Order = Order.NAME,
        limit: int | None = None,
        with_replicas: bool = False,
    ) -> AsyncGenerator[catalog_pb2.Dataset, None]:
        """Live datasets that meet all of these. `glob`: `*` stays inside a part of a name, `**` crosses.
        A tag with an empty value matches any value. The time window is [after, before) on the creation
        time. `has_site` and `lacks_site` go by the receipts of other sites. `has_replica_state` is a state's
        name, such as "suspect".
        """
        found = catalog_pb2.DatasetFilter(
            name_glob=glob,
            uploader=uploader,
            tags=tags or {},
            min_size_bytes=min_size_bytes,
            max_size_bytes=max_size_bytes,
            has_store=has_store,
            lacks_store=lacks_store,
            has_site=has_site,
            lacks_site=lacks_site,
            has_replica_state=_replica_state(has_replica_state),
        )
        if created_after is not None:
            found.created_after.CopyFrom(timestamp(created_after.astimezone()))
        if created_before is not None:
            found.created_before.CopyFrom(timestamp(created_before.astimezone()))
        async for dataset in self._list(found, order, limit, with_replicas=with_replicas):
            yield dataset

    async def members(
        self, name: str | catalog_pb2.Dataset, glob: str = ""
    ) -> AsyncGenerator[common_pb2.Member, None]:
        """Entries of a directory dataset in path order; none of a single file."""
        dataset = await self.show(name) if isinstance(name, str) else name
        if dataset.kind == common_pb2.DATASET_KIND_DIRECTORY:
            async for member in list_members(self._site, dataset.uid, glob):
                yield member

    async def history(self, name: str) -> AsyncGenerator[catalog_pb2.Event, None]:
        """A dataset's life, oldest first: its birth (DATASET_BORN, which has no cursor), as far as its origin
        is signed, then what happened at this site, down to the receipts of others.
        """
        dataset = await self.show(name)
        if dataset.HasField("origin"):
            yield _birth(dataset)
        request = catalog_pb2.ListEventsRequest(page_size=PAGE_SIZE, dataset_uid=dataset.uid)
        while True:
            answer = await self._site.unary(self._site.catalog.ListEvents, request)
            for event in answer.events:
                yield event
            if not answer.events or answer.next == request.after:
                return
            request.after.CopyFrom(answer.next)

    async def summary(self) -> catalog_pb2.GetSummaryResponse:
        """Sums over the live catalogue, at most a minute old."""
        return await self._site.unary(self._site.catalog.GetSummary, catalog_pb2.GetSummaryRequest())

    async def _dataset(self, request: catalog_pb2.GetDatasetRequest) -> catalog_pb2.Dataset:
        return (await self._site.unary(self._site.catalog.GetDataset, request)).dataset

    def _list(
        self, found: catalog_pb2.DatasetFilter, order: Order, limit: int | None, *, with_replicas: bool
    ) -> AsyncGenerator[catalog_pb2.Dataset, None]:
        async def ask(page_token: str) -> catalog_pb2.ListDatasetsResponse:
            request = catalog_pb2.ListDatasetsRequest(
                page_size=PAGE_SIZE if limit is None else min(PAGE_SIZE, limit),
                page_token=page_token,
                filter=found,
                order=_ORDERS[order],
                with_replicas=with_replicas,
            )
            return await self._site.unary(self._site.catalog.ListDatasets, request)

        return paged(ask, lambda page: page.datasets, limit)


def _birth(dataset: catalog_pb2.Dataset) -> catalog_pb2.Event:
    said = {"site": dataset.site, "uploader": dataset.uploader, "key_id": dataset.origin.key_id}
    return catalog_pb2.Event(
        time=dataset.create_time,
        type=DATASET_BORN,
        dataset_uid=dataset.uid,
        dataset_name=dataset.name,
        details_json=json.dumps(said, ensure_ascii=False),
    )


def _replica_state(name: str) -> common_pb2.ReplicaState.ValueType:
    if not name:
        return common_pb2.REPLICA_STATE_UNSPECIFIED
    try:
        return common_pb2.ReplicaState.Value(f"REPLICA_STATE_{name.upper()}")
    except ValueError:
        known = ", ".join(
            key.removeprefix("REPLICA_STATE_").lower() for key in common_pb2.ReplicaState.keys()[1:]
        )
        raise InvalidInput(f"no replica is ever {name!r}", remedy=f"states are {known}") from None
