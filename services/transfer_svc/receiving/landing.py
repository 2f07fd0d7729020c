"""Opening the uploads of deliveries on stores, and what the stores' answers mean for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.store.v1 import store_pb2
from librarian.errors import (
    IngestClosed,
    LibrarianError,
    PathTaken,
    Unavailable,
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
from transfer_svc.querykit import Bare
from transfer_svc.receiving import queries
from transfer_svc.receiving.judging import is_passing
from transfer_svc.receiving.values import Bringer, Delivery
from transfer_svc.values import Ingest

_CLOSED: Final = (IngestClosed, UploadClosed, UploadNotFound)


class Landing:
    """Of one offer. `grants`: where bytes go."""

    def __init__(self, context: Context, caller: Caller, bringer: Bringer, request: pb.OfferRequest) -> None:
        self._context = context
        self._opening = Opening(
            context, caller, only=request.store, subject_of=lambda _ingest: bringer.subject
        )
        self._index: dict[str, int] = {}
        self._found: set[int] = set()

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
        if number in self._found:
            error: LibrarianError | None = Unavailable(
                f"something lies at the place of {delivery.name}, and is being read",
                remedy="ask again: if it is this dataset there will be a receipt",
                uid=delivery.uid,
            )
        else:
            error = self._opening.errors.get(number)
        return pb.OfferVerdict(error=item_error(error)) if error else None

    async def _write_errors(self, ingests: dict[int, Ingest]) -> None:
        now = self._context.clock.now()
        refused: list[tuple[str, str]] = []
        forgotten: list[str] = []
        closed: list[str] = []
        errors, gone = self._opening.errors, self._opening.refused
        for number, error in list(errors.items()):
            upload = ingests[number].ingest_id
            if isinstance(error, PathTaken):
                self._found.add(number)
            elif number not in gone:
                if isinstance(error, _CLOSED):
                    closed.append(upload)
                    errors[number] = Unavailable(
                        f"upload {upload} was closed meanwhile", remedy="offer it again in another batch"
                    )
            elif is_passing(error):
                forgotten.append(upload)
            else:
                refused.append((upload, error_to_json(error)))
        found = [ingests[number].ingest_id for number in self._found]
        async with self._context.database.hot() as connection:
            if found:
                await queries.deliver_as_found(connection, found, now)
                await ingest_queries.call_workers(connection, self._context.channels.work)
            if refused:
                await queries.refuse_deliveries(connection, refused, now)
            if forgotten:
                await queries.forget_deliveries(connection, forgotten)
            if closed:
                lost = Withdrawn("its upload was closed at the store", remedy="offer it again")
                await queries.close_deliveries(connection, closed, error_to_json(lost), now)
            await _discard(connection, ingests, gone, keep=self._found)


async def _discard(
    connection: Bare, ingests: dict[int, Ingest], gone: dict[int, str], *, keep: set[int]
) -> None:
    over = [(ingests[number].ingest_id, store) for number, store in gone.items() if number not in keep]
    if over:
        await ingest_queries.discard_ingests(connection, over)
