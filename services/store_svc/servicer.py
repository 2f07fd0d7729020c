"""StoreService over the wire: message to values, one call, values to message."""

# gRPC names the methods, and gives each a context.
# ruff: noqa: N802, ARG002

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.api.store.v1 import store_pb2 as pb
from librarian.api.store.v1.store_pb2_grpc import StoreServiceServicer
from librarian.errors import BatchTooLarge, LibrarianError, TicketInvalid
from librarian.messages import member_to_proto
from store_svc import layout, reading, storemessages, stores
from store_svc import messages as to
from store_svc.adopting import adopt_trees
from store_svc.finding import find_trees
from store_svc.held import list_held
from store_svc.house import House
from store_svc.rangereading import Range
from store_svc.records import Claims, UploadSpec
from store_svc.replicas import verify_replica
from store_svc.reserving import MAX_UPLOADS, begin_uploads
from store_svc.scanning import scan_store
from store_svc.streams import get_upload, write_upload
from store_svc.tables import idempotency
from store_svc.tickets import Purpose, Ticket
from store_svc.wire import WriteMessage
from svckit.auth import Role, current_caller
from svckit.idempotency import check_request_id, once
from svckit.paging import decode_page_token, encode_page_token, page_size

_Call = ServicerContext[Any, Any]
_MAX_WAIT_MS: Final = 25_000
TICKET_KEY: Final = "librarian-ticket"
Answer = TypeVar("Answer", bound=Message)


class StoreServicer(StoreServiceServicer):
    def __init__(self, house: House) -> None:
        self._house = house
        self._kit = house.kit

    async def ListStores(self, request: pb.ListStoresRequest, context: _Call) -> pb.ListStoresResponse:
        found = await stores.list_stores(self._kit)
        return pb.ListStoresResponse(stores=map(storemessages.store_to_proto, found))

    async def AddStore(self, request: pb.AddStoreRequest, context: _Call) -> pb.AddStoreResponse:
        wanted = storemessages.store_from_proto(request.store, self._kit.settings)

        async def act(connection: AsyncConnection) -> pb.AddStoreResponse:
            return _named(pb.AddStoreResponse, await stores.add_store(self._kit, connection, wanted))

        answer = await self._once("AddStore", request, pb.AddStoreResponse, act)
        answer.store.CopyFrom(
            storemessages.store_to_proto(await stores.get_store(self._kit, answer.store.name))
        )
        return answer

    async def UpdateStore(self, request: pb.UpdateStoreRequest, context: _Call) -> pb.UpdateStoreResponse:
        name, fields = request.store.name, list(request.update_mask.paths)
        changes = storemessages.changes_from_proto(request.store, fields, self._kit.settings)

        async def act(connection: AsyncConnection) -> pb.UpdateStoreResponse:
            return _named(pb.UpdateStoreResponse, await stores.update_store(connection, name, changes))

        answer = await self._once("UpdateStore", request, pb.UpdateStoreResponse, act)
        usage = await stores.get_store(self._kit, name)
        self._house.store_changed(usage.store)
        answer.store.CopyFrom(storemessages.store_to_proto(usage))
        return answer

    async def BeginUploads(self, request: pb.BeginUploadsRequest, context: _Call) -> pb.BeginUploadsResponse:
        _check_batch(request.request_id, request.uploads, MAX_UPLOADS)
        specs: list[UploadSpec] = []
        errors: dict[str, LibrarianError] = {}
        for message in request.uploads:
            try:
                specs.append(to.spec_from_proto(message))
            except LibrarianError as error:
                errors[message.upload_id] = error
        begun = await begin_uploads(
            self._kit, request.store, specs, token_id=request.token_id, subject=request.subject
        )
        begun.errors.update(errors)
        return to.begun_to_proto(begun, layout.PROOF, self._kit.data_address)

    async def WriteUpload(
        self, requests: AsyncIterator[pb.WriteUploadRequest | WriteMessage], context: _Call
    ) -> pb.WriteUploadResponse:
        ticket = self._ticket(context, Purpose.WRITE)
        chunks = (to.chunk_from_proto(request) async for request in requests)
        with self._house.cuts.watched(ticket):
            written = await write_upload(self._kit, self._house.open_uploads, ticket, chunks)
        return pb.WriteUploadResponse(written_bytes=written.written_bytes, member_count=written.member_count)

    async def GetUpload(self, request: pb.GetUploadRequest, context: _Call) -> pb.GetUploadResponse:
        ticket = self._ticket(context, Purpose.WRITE)
        binding, after = request.upload_id.encode(), ""
        if request.page_token:
            after = str(decode_page_token(request.page_token, binding=binding)[0])
        page = await get_upload(
            self._kit, request.upload_id, ticket.about, after, page_size(request.page_size)
        )
        token = encode_page_token([page.entries[-1].path], binding=binding) if page.more else ""
        return to.page_to_proto(page, token)

    async def CommitUploads(
        self, request: pb.CommitUploadsRequest, context: _Call
    ) -> pb.CommitUploadsResponse:
        _check_batch(request.request_id, request.items, MAX_UPLOADS)
        claims: dict[str, Claims] = {}
        refused: list[pb.CommitUploadStatus] = []
        for item in request.items:
            try:
                claims[item.upload_id] = to.claims_from_proto(item)
            except LibrarianError as error:
                refused.append(to.refused_status(item.upload_id, error))
        seconds = min(max(request.timeout_ms, 0), _MAX_WAIT_MS) / 1000
        statuses = await self._house.committer.commit(request.store, claims, seconds=seconds)
        return pb.CommitUploadsResponse(statuses=[*map(to.status_to_proto, statuses), *refused])

    async def ReadManifest(
        self, request: pb.ReadManifestRequest, context: _Call
    ) -> AsyncIterator[pb.ReadManifestResponse]:
        batches = reading.read_manifest(self._kit, request.store, request.uid, request.after_path)
        async for members in batches:
            yield pb.ReadManifestResponse(members=map(member_to_proto, members))

    async def ConfirmUploads(
        self, request: pb.ConfirmUploadsRequest, context: _Call
    ) -> pb.ConfirmUploadsResponse:
        _check_batch(request.request_id, request.upload_ids, MAX_UPLOADS)
        errors = await self._house.committer.confirm(request.store, list(request.upload_ids))
        return pb.ConfirmUploadsResponse(errors=to.upload_errors(errors))

    async def AbortUploads(self, request: pb.AbortUploadsRequest, context: _Call) -> pb.AbortUploadsResponse:
        _check_batch(request.request_id, request.upload_ids, MAX_UPLOADS)
        errors = await self._house.committer.abort(
            request.store, list(request.upload_ids), idle_seconds=request.idle_seconds
        )
        return pb.AbortUploadsResponse(errors=to.upload_errors(errors))

    async def BeginRead(self, request: pb.BeginReadRequest, context: _Call) -> pb.BeginReadResponse:
        grant = await reading.begin_read(self._kit, request.store, request.uid, current_caller())
        return pb.BeginReadResponse(grant=to.read_grant_to_proto(grant, self._kit.data_address))

    async def ReadDataset(  # type: ignore[override] # see wire
        self, request: pb.ReadDatasetRequest, context: _Call
    ) -> AsyncIterator[reading.Piece]:
        ticket = self._ticket(context, Purpose.READ)
        if ticket.about != request.uid:
            raise TicketInvalid("the ticket is for another dataset")
        ranges = [Range(one.path, one.offset, one.length) for one in request.ranges]
        with self._house.cuts.watched(ticket):
            async for piece in reading.read_dataset(self._kit, ticket, request.uid, ranges):
                yield piece

    async def VerifyReplica(
        self, request: pb.VerifyReplicaRequest, context: _Call
    ) -> AsyncIterator[pb.VerifyReplicaResponse]:
        async for progress in verify_replica(self._kit, request.store, request.uid):
            yield to.verify_progress_to_proto(progress)

    async def AdoptTrees(
        self, request: pb.AdoptTreesRequest, context: _Call
    ) -> AsyncIterator[pb.AdoptTreesResponse]:
        wanted = to.to_adopt_from_proto(request)
        async for progress in adopt_trees(self._kit, request.store, wanted, request.algorithm):
            yield pb.AdoptTreesResponse(
                trees=map(to.adopted_to_proto, progress.trees), hashed_bytes=progress.hashed_bytes
            )

    async def FindTrees(
        self, request: pb.FindTreesRequest, context: _Call
    ) -> AsyncIterator[pb.FindTreesResponse]:
        async for found in find_trees(self._kit, request.store, request.path, request.glob):
            yield to.found_to_proto(found)

    async def ListHeld(self, request: pb.ListHeldRequest, context: _Call) -> pb.ListHeldResponse:
        binding, after = request.store.encode(), ("", "")
        if request.page_token:
            name, uid = decode_page_token(request.page_token, binding=binding)
            after = (str(name), str(uid))
        page = await list_held(self._kit, request.store, request.uids, after, page_size(request.page_size))
        last = [page.held[-1].name, page.held[-1].uid] if page.more else []
        return to.held_page_to_proto(page, encode_page_token(last, binding=binding) if last else "")

    async def ScanStore(
        self, request: pb.ScanStoreRequest, context: _Call
    ) -> AsyncIterator[pb.ScanStoreResponse]:
        async for progress in scan_store(self._kit, request.store):
            yield to.scan_progress_to_proto(progress)

    async def RevokeTickets(
        self, request: pb.RevokeTicketsRequest, context: _Call
    ) -> pb.RevokeTicketsResponse:
        check_request_id(request.request_id)
        await self._house.revoke(list(request.token_ids))
        return pb.RevokeTicketsResponse()

    def _ticket(self, context: _Call, purpose: Purpose) -> Ticket:
        """The call's ticket; it has to be the caller's own. Raises TicketInvalid, TokenRevoked."""
        text = dict(context.invocation_metadata() or ()).get(TICKET_KEY, "")
        ticket = self._kit.tickets.check(str(text), purpose, self._kit.clock.now())
        caller = current_caller()
        if caller.role is not Role.SERVICE and caller.token_id != ticket.token_id:
            raise TicketInvalid("the ticket was issued to another token")
        return ticket

    async def _once(
        self,
        method: str,
        request: pb.AddStoreRequest | pb.UpdateStoreRequest,
        response_type: type[Answer],
        act: Callable[[AsyncConnection], Awaitable[Answer]],
    ) -> Answer:
        async with self._kit.database.transaction() as connection:
            return await once(
                connection,
                idempotency,
                request_id=request.request_id,
                caller=current_caller().subject,
                method=method,
                request=request,
                response_type=response_type,
                now=self._kit.clock.now(),
                action=lambda: act(connection),
            )


def _named(kind: type[Answer], store: Any) -> Answer:
    """What is kept for a repeated request: which store it was; how it is now is looked up each time."""
    return kind(store=pb.Store(name=store.name))


def _check_batch(request_id: str, items: Sequence[object], limit: int) -> None:
    check_request_id(request_id)
    if len(items) > limit:
        raise BatchTooLarge(
            f"{len(items)} items are more than the {limit} of one call", remedy="split the batch", limit=limit
        )
