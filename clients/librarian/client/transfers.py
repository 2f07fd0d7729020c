"""Datasets on their way: asking about them, and putting a hand in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

from librarian.api.federation.v1 import federation_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.client.base import paged
from librarian.client.datasets import DatasetsClient
from librarian.connection.patience import PASSING, wait_again
from librarian.errors import InvalidInput, Unavailable
from librarian.progress import Progress

PAGE_SIZE = 500


class TransfersClient(DatasetsClient):
    async def transfers(
        self,
        states: Sequence[transfer_pb2.TransferState.ValueType] = (),
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = (),
        dataset_uid: str = "",
        route_id: str = "",
        limit: int | None = None,
    ) -> AsyncGenerator[transfer_pb2.Transfer, None]:
        """Newest first, those that meet all of these; in these states, or in all. A name matches one of
        `name_globs`, at most 100; one without wildcards is a name.
        """

        async def ask(page_token: str) -> transfer_pb2.ListTransfersResponse:
            request = transfer_pb2.ListTransfersRequest(
                page_size=min(PAGE_SIZE, limit or PAGE_SIZE),
                page_token=page_token,
                states=states,
                destination=destination,
                name_glob=name_glob,
                name_globs=name_globs,
                dataset_uid=dataset_uid,
                route_id=route_id,
            )
            return await self._site.unary(self._site.transfer.ListTransfers, request)

        async for transfer in paged(ask, lambda page: page.transfers, limit):
            yield transfer

    async def transfer(self, transfer_id: str) -> transfer_pb2.GetTransferResponse:
        """One of them, and all that was decided about it, oldest first."""
        request = transfer_pb2.GetTransferRequest(transfer_id=transfer_id)
        return await self._site.unary(self._site.transfer.GetTransfer, request)

    async def watch_transfers(
        self, destination: str = "", *, progress: Progress | None = None
    ) -> AsyncGenerator[transfer_pb2.WatchTransfersResponse, None]:
        """Transfers as they change, after those under way; it does not end by itself. An answer without
        transfers is a sign of life. A broken stream is watched again; `progress` tells the trouble until the
        first answer after it, with which what is under way is told anew, has been taken.
        """
        progress = progress or Progress()
        request = transfer_pb2.WatchTransfersRequest(destination=destination)
        patience = self._site.patience()
        while True:
            arrived = False
            try:
                async for answer in self._site.stream(self._site.transfer.WatchTransfers, request):
                    arrived = True
                    yield answer
                    progress.held_up("")
                raise Unavailable("the site ended the watch")
            except PASSING as error:
                progress.held_up(error.message)
                if arrived:
                    patience = self._site.patience()
                await wait_again(patience, error)

    async def retry_transfers(
        self,
        transfer_ids: Sequence[str] = (),
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = (),
        route_id: str = "",
    ) -> transfer_pb2.RetryTransfersResponse:
        """Tries held, failed, cancelled and waiting ones again, now: these, or those that meet all of the
        other conditions (as of `transfers`). The answer has a verdict for each id.
        """
        request = transfer_pb2.RetryTransfersRequest(
            request_id=str(uuid4()),
            selection=_selection(transfer_ids, destination, name_glob, name_globs, route_id),
        )
        return await self._site.unary(self._site.transfer.RetryTransfers, request)

    async def cancel_transfers(
        self,
        transfer_ids: Sequence[str] = (),
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = (),
        route_id: str = "",
        reason: str = "",
    ) -> transfer_pb2.CancelTransfersResponse:
        """What has not arrived is given up; what is verified stays. Chosen as by `retry_transfers`."""
        request = transfer_pb2.CancelTransfersRequest(
            request_id=str(uuid4()),
            selection=_selection(transfer_ids, destination, name_glob, name_globs, route_id),
            reason=reason,
        )
        return await self._site.unary(self._site.transfer.CancelTransfers, request)

    async def prioritize_transfers(
        self,
        priority: int,
        transfer_ids: Sequence[str] = (),
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = (),
        route_id: str = "",
    ) -> transfer_pb2.PrioritizeTransfersResponse:
        """Higher (-100 to 100) goes first among what has not started. Chosen as by `retry_transfers`."""
        request = transfer_pb2.PrioritizeTransfersRequest(
            request_id=str(uuid4()),
            selection=_selection(transfer_ids, destination, name_glob, name_globs, route_id),
            priority=priority,
        )
        return await self._site.unary(self._site.transfer.PrioritizeTransfers, request)

    async def explain(self, name: str, destination: str = "") -> transfer_pb2.ExplainDatasetResponse:
        """Why a dataset (its name, or its uid) is, or is not yet, at a site or store; without one, at every
        one that has a route, a transfer or a receipt.
        """
        dataset = await self.show(name)
        request = transfer_pb2.ExplainDatasetRequest(uid=dataset.uid, destination=destination)
        return await self._site.unary(self._site.transfer.ExplainDataset, request)

    async def transfer_status(self) -> transfer_pb2.GetTransferStatusResponse:
        """Queues, links, what needs a person, and what others bring here."""
        request = transfer_pb2.GetTransferStatusRequest()
        return await self._site.unary(self._site.transfer.GetTransferStatus, request)

    async def deliveries(
        self,
        states: Sequence[federation_pb2.DeliveryState.ValueType] = (),
        *,
        peer: str = "",
        limit: int | None = None,
    ) -> AsyncGenerator[transfer_pb2.IncomingDelivery, None]:
        """What other sites bring here, newest first; in these states, or in all."""

        async def ask(page_token: str) -> transfer_pb2.ListDeliveriesResponse:
            request = transfer_pb2.ListDeliveriesRequest(
                page_size=min(PAGE_SIZE, limit or PAGE_SIZE), page_token=page_token, peer=peer, states=states
            )
            return await self._site.unary(self._site.transfer.ListDeliveries, request)

        async for delivery in paged(ask, lambda page: page.deliveries, limit):
            yield delivery


def _selection(
    transfer_ids: Sequence[str], destination: str, name_glob: str, name_globs: Sequence[str], route_id: str
) -> transfer_pb2.TransferSelection:
    """Never everything by oversight."""
    if not (transfer_ids or destination or name_glob or name_globs or route_id):
        raise InvalidInput(
            "no transfers were chosen",
            remedy="give their ids, or names, globs, a destination or a route; the glob `**` means all",
        )
    return transfer_pb2.TransferSelection(
        transfer_ids=transfer_ids,
        destination=destination,
        name_glob=name_glob,
        name_globs=name_globs,
        route_id=route_id,
    )
