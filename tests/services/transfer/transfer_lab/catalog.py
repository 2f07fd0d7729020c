"""A catalog in memory that keeps the contract as far as ingests, registering and verifying need it."""

# ruff: noqa: N802 - gRPC's names
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceServicer
from librarian.api.common.v1 import common_pb2
from librarian.errors import (
    DatasetNotFound,
    InvalidInput,
    LibrarianError,
    MembersIncomplete,
    NameIsPrefix,
    NameTaken,
    RequestIdReused,
)
from librarian.messages import item_error
from librarian.names import ancestors
from transfer_lab.trouble import Trouble

# Of every replica.
VERIFY_TIME_US = 1_700_000_000_000_000


class FakeCatalog(CatalogServiceServicer):
    """`live` by name, `replicas` by (uid, store), `published` counts how often each uid became visible."""

    def __init__(self) -> None:
        self.trouble = Trouble()
        self.live: dict[str, pb.Dataset] = {}
        self.replicas: dict[tuple[str, str], pb.Replica] = {}
        self.members: dict[str, dict[str, common_pb2.Member]] = {}
        self.columns: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[str, str, int, str]] = []
        self.receipts: list[pb.ReceiptRecord] = []
        self.forgets_members_once: set[str] = set()
        # A name whose presence makes it refuse a whole call.
        self.unbearable = ""
        self._requests: dict[str, Message] = {}

    def add(self, name: str, digest: bytes, *, store: str = "", uid: str = "", size: int = 0) -> pb.Dataset:
        """A dataset that was there before."""
        dataset = pb.Dataset(
            uid=uid or f"live-{name}",
            name=name,
            kind=common_pb2.DATASET_KIND_FILE,
            digest=common_pb2.Checksum(algorithm="sha256", value=digest),
            size_bytes=size,
            member_count=1,
        )
        self.live[name] = dataset
        if store:
            self._set_replica(dataset.uid, store, common_pb2.REPLICA_STATE_AVAILABLE, "")
        return dataset

    def state_of(self, uid: str, store: str) -> str:
        name = common_pb2.ReplicaState.Name(self.replicas[uid, store].state)
        return name.removeprefix("REPLICA_STATE_")

    async def ReserveNames(self, request: pb.ReserveNamesRequest, context: Any) -> pb.ReserveNamesResponse:
        await self.trouble.enter("ReserveNames")
        response = pb.ReserveNamesResponse()
        for index, name in enumerate(request.names):
            if name in self.live:
                response.verdicts.add(index=index, existing=self.live[name])
            elif (clash := self._clash(name)) is not None:
                response.verdicts.add(index=index, error=item_error(clash))
        self.trouble.leave("ReserveNames")
        return response

    async def PublishDatasets(
        self, request: pb.PublishDatasetsRequest, context: Any
    ) -> pb.PublishDatasetsResponse:
        await self.trouble.enter("PublishDatasets")
        if self.unbearable and self.unbearable in request.datasets.name:
            raise InvalidInput("one of them is not to be borne")
        self._once(request.request_id, request)
        response = pb.PublishDatasetsResponse(
            verdicts=[
                self._publish(request.datasets, index, store) for index, store in enumerate(request.stores)
            ]
        )
        self.trouble.leave("PublishDatasets")
        return response

    async def RegisterDatasets(
        self, request_iterator: AsyncIterator[pb.RegisterDatasetsRequest], context: Any
    ) -> AsyncIterator[pb.RegisterDatasetsResponse]:
        async for request in request_iterator:
            await self.trouble.enter("RegisterDatasets")
            self._once(request.request_id, request)
            verdicts = [
                self._publish(request.datasets, index, request.store)
                for index in range(len(request.datasets.uid))
            ]
            self.trouble.leave("RegisterDatasets")
            others = [each for each in verdicts if each.outcome != pb.PUBLISH_OUTCOME_PUBLISHED]
            yield pb.RegisterDatasetsResponse(
                request_id=request.request_id,
                published_count=len(verdicts) - len(others),
                verdicts=others,
            )

    async def AddMembers(
        self, request_iterator: AsyncIterator[pb.AddMembersRequest], context: Any
    ) -> pb.AddMembersResponse:
        await self.trouble.enter("AddMembers")
        count = 0
        async for request in request_iterator:
            kept = self.members.setdefault(request.uid, {})
            kept.update({member.path: member for member in request.members})
            count += len(request.members)
        self.trouble.leave("AddMembers")
        return pb.AddMembersResponse(member_count=count)

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Any) -> pb.GetDatasetResponse:
        await self.trouble.enter("GetDataset")
        for dataset in self.live.values():
            if request.uid == dataset.uid or (request.name and request.name == dataset.name):
                return pb.GetDatasetResponse(dataset=self._with_replicas(dataset))
        raise DatasetNotFound(f"no dataset {request.uid or request.name}")

    async def BatchGetDatasets(
        self, request: pb.BatchGetDatasetsRequest, context: Any
    ) -> pb.BatchGetDatasetsResponse:
        await self.trouble.enter("BatchGetDatasets")
        by_uid = {dataset.uid: dataset for dataset in self.live.values()}
        found = {name: self.live[name] for name in request.names if name in self.live}
        found |= {uid: by_uid[uid] for uid in request.uids if uid in by_uid}
        return pb.BatchGetDatasetsResponse(
            datasets=[self._with_replicas(each) for each in found.values()],
            missing=[key for key in (*request.names, *request.uids) if key not in found],
        )

    async def ListReceipts(self, request: pb.ListReceiptsRequest, context: Any) -> pb.ListReceiptsResponse:
        await self.trouble.enter("ListReceipts")
        start = request.after.sequence
        page = self.receipts[start : start + request.page_size]
        return pb.ListReceiptsResponse(
            receipts=page, next=pb.EventCursor(epoch=1, sequence=start + len(page))
        )

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Any) -> pb.ListDatasetsResponse:
        await self.trouble.enter("ListDatasets")
        expected = request.filter.expected_store
        names = sorted(
            name
            for name, dataset in self.live.items()
            if name > request.page_token and (not expected or (dataset.uid, expected) in self.replicas)
        )
        # Small pages, whatever is asked: so that turning them is tested.
        page = names[:3]
        return pb.ListDatasetsResponse(
            datasets=[self._with_replicas(self.live[name]) for name in page],
            next_page_token=page[-1] if len(names) > len(page) else "",
        )

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Any
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        await self.trouble.enter("WatchEvents")
        yield pb.WatchEventsResponse(next=pb.EventCursor(epoch=1))
        # Nothing happens here.
        await asyncio.Event().wait()

    async def GetSummary(self, request: pb.GetSummaryRequest, context: Any) -> pb.GetSummaryResponse:
        await self.trouble.enter("GetSummary")
        sizes = {dataset.uid: dataset.size_bytes for dataset in self.live.values()}
        return pb.GetSummaryResponse(
            stores=[
                pb.StoreSummary(store=store, state=replica.state, replica_count=1, size_bytes=sizes[uid])
                for (uid, store), replica in self.replicas.items()
            ]
        )

    async def UpdateReplicas(
        self, request: pb.UpdateReplicasRequest, context: Any
    ) -> pb.UpdateReplicasResponse:
        await self.trouble.enter("UpdateReplicas")
        for update in request.updates:
            self._set_replica(update.uid, update.store, update.state, update.state_reason)
        return pb.UpdateReplicasResponse()

    def _publish(self, datasets: pb.DatasetColumns, index: int, store: str) -> pb.PublishVerdict:
        uid, name = datasets.uid[index], datasets.name[index]
        live = self.live.get(name)
        error: LibrarianError | None = None
        if live is not None and live.uid != uid:
            if (live.digest.value, live.kind) == (datasets.digest[index], datasets.kind[index]):
                return pb.PublishVerdict(index=index, outcome=pb.PUBLISH_OUTCOME_ALREADY_THERE, uid=live.uid)
            error = NameTaken(f"{name} is taken", name=name)
        elif live is None:
            error = self._clash(name) or self._incomplete(datasets, index)
        if error is not None:
            return pb.PublishVerdict(index=index, outcome=pb.PUBLISH_OUTCOME_REFUSED, error=item_error(error))
        if live is None:
            self._enter(datasets, index)
        known = self.replicas.get((uid, store))
        if known is None or known.state != common_pb2.REPLICA_STATE_AVAILABLE:
            self._set_replica(uid, store, common_pb2.REPLICA_STATE_AVAILABLE, "")
        outcome = pb.PUBLISH_OUTCOME_ALREADY_THERE if live else pb.PUBLISH_OUTCOME_PUBLISHED
        return pb.PublishVerdict(index=index, outcome=outcome, uid=uid)

    def _enter(self, datasets: pb.DatasetColumns, index: int) -> None:
        uid, name = datasets.uid[index], datasets.name[index]
        self.live[name] = pb.Dataset(
            uid=uid,
            name=name,
            kind=datasets.kind[index],
            digest=common_pb2.Checksum(
                algorithm=datasets.digest_algorithm[index], value=datasets.digest[index]
            ),
            size_bytes=datasets.size_bytes[index],
            member_count=datasets.member_count[index],
        )
        self.columns[uid] = {
            field.name: getattr(datasets, field.name)[index] for field in datasets.DESCRIPTOR.fields
        }

    def _clash(self, name: str) -> LibrarianError | None:
        inside = next((other for other in self.live if other.startswith(f"{name}/")), None)
        around = next((other for other in ancestors(name) if other in self.live), None)
        other = inside or around
        return NameIsPrefix(f"{name} and {other} cannot both be", name=name) if other else None

    def _incomplete(self, datasets: pb.DatasetColumns, index: int) -> LibrarianError | None:
        uid = datasets.uid[index]
        if datasets.kind[index] != common_pb2.DATASET_KIND_DIRECTORY:
            return None
        if uid in self.forgets_members_once:
            self.forgets_members_once.discard(uid)
            self.members.pop(uid, None)
        known = len(self.members.get(uid, {}))
        if known != datasets.member_count[index]:
            return MembersIncomplete(f"{known} of {datasets.member_count[index]} members are here")
        return None

    def _set_replica(self, uid: str, store: str, state: Any, reason: str) -> None:
        replica = pb.Replica(store=store, state=state, state_reason=reason)
        replica.verify_time.FromMicroseconds(VERIFY_TIME_US)
        self.replicas[uid, store] = replica
        self.history.append((uid, store, state, reason))

    def _with_replicas(self, dataset: pb.Dataset) -> pb.Dataset:
        whole = pb.Dataset()
        whole.CopyFrom(dataset)
        whole.replicas.extend(replica for (uid, _), replica in self.replicas.items() if uid == dataset.uid)
        return whole

    def _once(self, request_id: str, request: Message) -> None:
        before = self._requests.setdefault(request_id, request)
        if before != request:
            raise RequestIdReused(f"{request_id} came with another request")
