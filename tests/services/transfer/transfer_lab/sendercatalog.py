"""The catalog as those who send see it: its event log goes on, and receipts are recorded."""

# ruff: noqa: N802 - gRPC's names
from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import uuid_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import CursorOfAnotherEpoch, DatasetNotFound, Unavailable
from librarian.messages import item_error, timestamp
from svckit.statements import make_origin
from transfer_lab.catalog import FakeCatalog


class SenderCatalog(FakeCatalog):
    """`events` are told as they come. `receipts` by (site, uid); `recorded` has each as often as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 1
        self.events: list[pb.Event] = []
        self.receipts: dict[tuple[str, str], pb.ReceiptRecord] = {}
        self.recorded: list[tuple[str, str]] = []
        self._more = asyncio.Event()
        self.key = Ed25519PrivateKey.generate()

    def append(self, type_: str, dataset: pb.Dataset, store: str = "", **details: Any) -> None:
        event = pb.Event(
            cursor=pb.EventCursor(epoch=self.epoch, sequence=len(self.events) + 1),
            time=timestamp(datetime.now(UTC)),
            type=type_,
            dataset_uid=dataset.uid,
            dataset_name=dataset.name,
            store=store,
            details_json=json.dumps(details),
        )
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    def restore(self) -> None:
        """As after a restore from a backup: the same events in another epoch; those who watch are cut off."""
        self.epoch += 1
        self.wake()

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Any
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        epoch = self.epoch
        after = request.after.sequence if request.HasField("after") else 0
        if request.HasField("after") and request.after.epoch != epoch:
            raise CursorOfAnotherEpoch("another epoch")
        while True:
            more = self._more
            page = self.events[after : after + 50]
            after += len(page)
            if page:
                cursor = pb.EventCursor(epoch=epoch, sequence=after)
                yield pb.WatchEventsResponse(events=page, next=cursor)
                continue
            await more.wait()
            if self.epoch != epoch:
                raise Unavailable("the catalog was restored")

    def publish(self, name: str, *, size: int = 5, store: str = "fast", **tags: str) -> pb.Dataset:
        """A dataset born here, as if a client had brought it; its digest is made of its name."""
        uid = str(uuid_utils.uuid7())
        digest = hashlib.sha256(name.encode()).digest()
        origin = common_pb2.Origin(site="lab", uid=uid, name=name)
        dataset = self.add(name, digest, store=store, uid=uid, size=size)
        dataset.member_count = 1
        dataset.tags.update(tags)
        dataset.origin.CopyFrom(make_origin(origin, self.key))
        dataset.publish_time.CopyFrom(timestamp(datetime.now(UTC)))
        self.append("DATASET_PUBLISHED", dataset, store, state="AVAILABLE")
        return dataset

    def known(self, uid: str) -> pb.Dataset | None:
        return next((dataset for dataset in self.live.values() if dataset.uid == uid), None)

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Any) -> pb.ListDatasetsResponse:
        page = await super().ListDatasets(request, context)
        wanted = request.filter
        kept = [
            each
            for each in page.datasets
            if each.name.startswith(wanted.name_prefix)
            and wanted.lacks_site not in {remote.site for remote in each.remote_replicas}
        ]
        return pb.ListDatasetsResponse(datasets=kept, next_page_token=page.next_page_token)

    async def RecordReceipts(
        self, request: pb.RecordReceiptsRequest, context: Any
    ) -> pb.RecordReceiptsResponse:
        response = pb.RecordReceiptsResponse()
        for index, record in enumerate(request.receipts):
            receipt = common_pb2.Receipt.FromString(record.receipt.payload)
            dataset = self.known(receipt.uid)
            if dataset is None:
                error = DatasetNotFound("not here", uid=receipt.uid)
                response.verdicts.add(index=index, error=item_error(error))
                continue
            key = (receipt.site, receipt.uid)
            self.recorded.append(key)
            if key in self.receipts:
                continue
            self.receipts[key] = record
            response.recorded_count += 1
            dataset.remote_replicas.add(
                site=receipt.site,
                store=receipt.store,
                via_site=record.via_site,
                record_time=timestamp(datetime.now(UTC)),
            )
            self.append("RECEIPT_RECORDED", dataset, site=receipt.site)
        return response

    async def ListReceipts(self, request: pb.ListReceiptsRequest, context: Any) -> pb.ListReceiptsResponse:
        found = [record for (_, uid), record in self.receipts.items() if request.dataset_uid in {"", uid}]
        return pb.ListReceiptsResponse(receipts=found)
