"""Opening the uploads of deliveries on stores, and what the stores' answers mean for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.store.v1 import store_pb2
from librarian.errors import (
    IngestClosed,
    LibrarianError,
    PathTaken,
    Unavailable,
    UploadActive,
    UploadClosed,
    UploadNotFound,
    Withdrawn,
)
from librarian.messages import item_error
from svckit.auth import Caller
from transfer_svc import queries as ingest_queries
from transfer_svc.context import Context
from transfer_svc.messages import error_to_json
from transfer_svc.opening import Opening
from transfer_svc.receiving import queries
from transfer_svc.receiving.judging import is_passing
from transfer_svc.receiving.values import Bringer, Delivery
from transfer_svc.values import Ingest

_CLOSED: Final = (IngestClosed, UploadClosed, UploadNotFound)


@dataclass(slots=True)
class _Fates:
    """What becomes of uploads that were not opened. `found`: something lies at their place. `in_the_way`:
    stores, with uploads there that bring the same.
    """

    found: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    in_the_way: list[tuple[str, str]] = field(default_factory=list)

    def decide(self, ingest: Ingest, error: LibrarianError, *, refused_by: str | None) -> LibrarianError:
        """Notes it, and answers what the sender is told. `refused_by`: the store that holds nothing of it;
        None: it was opened before, or what the store did is not known.
        """
        upload, name = ingest.ingest_id, ingest.name
        if isinstance(error, PathTaken):
            self.found.append(upload)
            return Unavailable(
                f"something lies at the place of {name}, and is being read",
                remedy="ask again: if it is this dataset there will be a receipt",
                name=name,
            )
        if isinstance(error, _CLOSED) and refused_by is None:
            self.closed.append(upload)
            return Unavailable(f"the upload of {name} was closed meanwhile", remedy="offer it again")
        if refused_by is None:
            return error
        if isinstance(error, UploadActive):
            self.in_the_way.append((refused_by, error.metadata.get("upload_id", "")))
            error = Unavailable(f"another upload is bringing {name}", remedy="ask again", name=name)
        if is_passing(error):
            self.forgotten.append(upload)
        else:
            self.refused.append((upload, error_to_json(error)))
        return error


class Landing:
    """Of one offer. `grants`: where bytes go."""

    def __init__(self, context: Context, caller: Caller, bringer: Bringer, request: pb.OfferRequest) -> None:
        self._context = context
        self._opening = Opening(
            context, caller, only=request.store, subject_of=lambda _ingest: bringer.subject
        )
        self._index: dict[str, int] = {}

    @property
    def grants(self) -> Sequence[store_pb2.UploadGrant]:
        return self._opening.grants

    async def run(self, deliveries: Sequence[Delivery]) -> None:
        """Opens these, or refuses, forgets or hands over those that no store opens."""
        if not deliveries:
            return
        uploads = [each.upload_id for each in deliveries]
        async with self._context.database.hot() as connection:
            found = await ingest_queries.fetch_ingests(connection, uploads)
        ingests = {number: found[upload] for number, upload in enumerate(uploads) if upload in found}
        self._index = {ingest.ingest_id: number for number, ingest in ingests.items()}
        await self._opening.run(ingests)
        if self._opening.errors:
            await self._write_errors(ingests)
            self._context.faults.hit("offer.errors_written")

    def verdict(self, delivery: Delivery) -> pb.OfferVerdict | None:
        """None: it was not to be opened."""
        number = self._index.get(delivery.upload_id, -1)
        if number in self._opening.opened:
            order = pb.SendOrder(upload_id=delivery.upload_id, landing=self._opening.opened[number])
            return pb.OfferVerdict(send=order)
        error = self._opening.errors.get(number)
        return pb.OfferVerdict(error=item_error(error)) if error else None

    async def _write_errors(self, ingests: Mapping[int, Ingest]) -> None:
        fates = _Fates()
        errors, gone = self._opening.errors, self._opening.refused
        for number, error in list(errors.items()):
            errors[number] = fates.decide(ingests[number], error, refused_by=gone.get(number))
        found = {self._index[upload] for upload in fates.found}
        over = [(ingests[n].ingest_id, store) for n, store in gone.items() if n not in found]
        now = self._context.clock.now()
        async with self._context.database.hot() as connection:
            if fates.found:
                await queries.deliver_as_found(connection, fates.found, now)
                await ingest_queries.call_workers(connection, self._context.channels.work)
            if fates.refused:
                await queries.refuse_deliveries(connection, fates.refused, now)
            if fates.forgotten:
                await queries.forget_deliveries(connection, fates.forgotten)
            if fates.closed:
                lost = Withdrawn("its upload was closed at the store", remedy="offer it again")
                await queries.close_deliveries(connection, fates.closed, error_to_json(lost), now)
            if over:
                await ingest_queries.discard_ingests(connection, over)
        await self._abort_orphans(fates.in_the_way)

    async def _abort_orphans(self, active: Sequence[tuple[str, str]]) -> None:
        """Uploads, by store, that stand in the way and that nobody here knows (any more): the books were
        restored to a time before. Those that are known go on, or end, by themselves.
        """
        if not active:
            return
        async with self._context.database.hot() as connection:
            known = await ingest_queries.ingests_under_way(connection, {upload for _, upload in active})
        unknown = [(store, upload) for store, upload in active if upload and upload not in known]
        for store in sorted({store for store, _ in unknown}):
            uploads = [upload for each, upload in unknown if each == store]
            self._context.logger.warning("orphan_uploads_aborted", store=store, upload_ids=uploads[:10])
            request = store_pb2.AbortUploadsRequest(
                request_id=self._context.ids.new_uid(), store=store, upload_ids=uploads
            )
            try:
                service = await self._context.stores.service_of(store)
                await service.AbortUploads(request)
            except LibrarianError as error:
                # The next offer meets it again.
                self._context.logger.warning("orphans_stay", store=store, reason=error.reason)
