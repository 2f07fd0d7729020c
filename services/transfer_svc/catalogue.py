"""What the catalogue has on this site's stores, read page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.errors import DatasetNotFound
from svckit.auth import Caller
from transfer_svc.context import Context
from transfer_svc.replicas import READABLE, ReplicaState

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Copy:
    """One dataset's copy on one store, as the catalogue has it."""

    uid: str
    name: str
    store: str
    state: ReplicaState
    size_bytes: int


async def copies_of(context: Context, caller: Caller, uid: str) -> list[Copy]:
    """All copies of one dataset that should be there to be read. Raises DatasetNotFound."""
    response = await context.catalog.GetDataset(catalog_pb2.GetDatasetRequest(uid=uid))
    dataset = response.dataset
    if not caller.may_see(dataset.name):
        raise DatasetNotFound(f"no dataset has the uid {uid[:80]}", uid=uid[:80])
    return _readable(dataset, "")


async def all_copies(
    context: Context, caller: Caller, store: str, *, after_uid: str = ""
) -> AsyncIterator[Copy]:
    """Every copy that should be on `store`, in the order of names, after the dataset `after_uid`.

    Raises DatasetNotFound where that one is unknown.
    """
    after = ""
    if after_uid:
        response = await context.catalog.GetDataset(catalog_pb2.GetDatasetRequest(uid=after_uid))
        after = response.dataset.name
    token = ""
    while True:
        page = await context.catalog.ListDatasets(
            catalog_pb2.ListDatasetsRequest(
                page_size=_PAGE,
                page_token=token,
                # Not `has_store`: that lists only copies that are well.
                filter=catalog_pb2.DatasetFilter(expected_store=store),
                order=catalog_pb2.DATASET_ORDER_NAME,
                with_replicas=True,
            )
        )
        for dataset in page.datasets:
            if dataset.name > after and caller.may_see(dataset.name):
                for copy in _readable(dataset, store):
                    yield copy
        token = page.next_page_token
        if not token:
            return


async def held_bytes(context: Context, store: str) -> int:
    """Bytes of all datasets with a copy on `store`, as last summed up."""
    response = await context.catalog.GetSummary(catalog_pb2.GetSummaryRequest())
    return sum(
        each.size_bytes for each in response.stores if each.store == store and _state(each.state) in READABLE
    )


def _readable(dataset: catalog_pb2.Dataset, store: str) -> list[Copy]:
    return [
        Copy(dataset.uid, dataset.name, replica.store, _state(replica.state), dataset.size_bytes)
        for replica in dataset.replicas
        if store in {"", replica.store} and _state(replica.state) in READABLE
    ]


def _state(number: int) -> ReplicaState:
    try:
        return ReplicaState(number)
    except ValueError:
        return ReplicaState.UNSPECIFIED
