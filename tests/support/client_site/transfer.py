"""The ingest part of TransferService; the rest is `Flow`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import grpc

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import ChecksumMismatch, IngestClosed, IngestNotFound
from librarian.messages import item_error
from support.client_site.flow import Flow
from support.client_site.state import PROOF, STORE, State, Upload

Context = grpc.aio.ServicerContext[Any, Any]


class Transfer(Flow):
    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._looks: dict[str, int] = {}
        self.requests: list[transfer_pb2.BeginIngestsRequest] = []

    async def BeginIngests(  # noqa: N802
        self, request: transfer_pb2.BeginIngestsRequest, context: Context
    ) -> transfer_pb2.BeginIngestsResponse:
        await self._state.enter("BeginIngests", context)
        self.requests.append(request)
        verdicts = [self._begin(spec) for spec in request.items]
        grant = store_pb2.UploadGrant(
            store=STORE,
            staging_path=str(self._state.staging) if self._state.offer_staging else "",
            proof_name="proof",
            proof=PROOF,
            data_address=self._state.door_address if self._state.offer_door else "",
            ticket="a ticket",
        )
        return transfer_pb2.BeginIngestsResponse(verdicts=verdicts, grants=[grant])

    def _begin(self, spec: transfer_pb2.IngestSpec) -> transfer_pb2.BeginIngestVerdict:
        state = self._state
        if spec.ingest_id:
            upload = state.uploads.get(spec.ingest_id)
            if upload is None:
                error = item_error(IngestNotFound("there is no such ingest"))
                return transfer_pb2.BeginIngestVerdict(error=error)
            if upload.ingest.state != transfer_pb2.INGEST_STATE_OPEN:
                return transfer_pb2.BeginIngestVerdict(error=item_error(IngestClosed("not open any more")))
            return _open(spec.ingest_id)
        if spec.name in state.existing:
            return transfer_pb2.BeginIngestVerdict(existing=state.existing[spec.name])
        ingest_id = str(uuid4())
        ingest = transfer_pb2.Ingest(
            ingest_id=ingest_id,
            name=spec.name,
            kind=spec.kind,
            state=transfer_pb2.INGEST_STATE_OPEN,
            store=STORE,
            size_bytes=spec.size_bytes,
        )
        state.uploads[ingest_id] = Upload(ingest, spec, state.staging / ingest_id)
        return _open(ingest_id)

    async def CommitIngests(  # noqa: N802
        self, request: transfer_pb2.CommitIngestsRequest, context: Context
    ) -> transfer_pb2.CommitIngestsResponse:
        await self._state.enter("CommitIngests", context)
        for item in request.items:
            upload = self._state.uploads[item.ingest_id]
            if upload.ingest.state == transfer_pb2.INGEST_STATE_OPEN:
                upload.ingest.state = transfer_pb2.INGEST_STATE_COMMITTING
                upload.ingest.digest.CopyFrom(item.digest)
        return transfer_pb2.CommitIngestsResponse(
            verdicts=[
                transfer_pb2.IngestVerdict(ingest=self._state.uploads[item.ingest_id].ingest)
                for item in request.items
            ]
        )

    async def WaitIngests(  # noqa: N802
        self, request: transfer_pb2.WaitIngestsRequest, context: Context
    ) -> transfer_pb2.WaitIngestsResponse:
        await self._state.enter("WaitIngests", context)
        return transfer_pb2.WaitIngestsResponse(
            verdicts=[
                transfer_pb2.IngestVerdict(ingest=self._carry_out(ingest_id))
                for ingest_id in request.ingest_ids
            ]
        )

    def _carry_out(self, ingest_id: str) -> transfer_pb2.Ingest:
        upload = self._state.uploads[ingest_id]
        self._looks[ingest_id] = self._looks.get(ingest_id, 0) + 1
        committing = upload.ingest.state == transfer_pb2.INGEST_STATE_COMMITTING
        if not committing or self._looks[ingest_id] < self._state.looks_before_final:
            return upload.ingest
        claimed = common_pb2.Checksum()
        claimed.CopyFrom(upload.ingest.digest)
        algorithm = upload.spec.algorithm or "sha256"
        dataset = self._state.keep(upload.spec.name, upload.path, algorithm=algorithm, uid=ingest_id)
        if dataset.digest == claimed:
            upload.ingest.state = transfer_pb2.INGEST_STATE_PUBLISHED
            upload.ingest.dataset_uid = dataset.uid
        else:
            upload.ingest.state = transfer_pb2.INGEST_STATE_FAILED
            upload.ingest.error.CopyFrom(item_error(ChecksumMismatch("what landed is not what was claimed")))
        return upload.ingest

    async def GetIngest(  # noqa: N802
        self, request: transfer_pb2.GetIngestRequest, context: Context
    ) -> transfer_pb2.GetIngestResponse:
        await self._state.enter("GetIngest", context)
        upload = self._state.uploads.get(request.ingest_id)
        if upload is None:
            await self._state.abort(context, IngestNotFound("there is no such ingest"))
            raise AssertionError
        return transfer_pb2.GetIngestResponse(ingest=upload.ingest)

    async def ListIngests(  # noqa: N802
        self, request: transfer_pb2.ListIngestsRequest, context: Context
    ) -> transfer_pb2.ListIngestsResponse:
        await self._state.enter("ListIngests", context)
        found = [
            upload.ingest
            for upload in self._state.uploads.values()
            if not request.states or upload.ingest.state in request.states
        ]
        return transfer_pb2.ListIngestsResponse(ingests=found)

    async def AbortIngests(  # noqa: N802
        self, request: transfer_pb2.AbortIngestsRequest, context: Context
    ) -> transfer_pb2.AbortIngestsResponse:
        await self._state.enter("AbortIngests", context)
        for ingest_id in request.ingest_ids:
            self._state.uploads[ingest_id].ingest.state = transfer_pb2.INGEST_STATE_ABORTED
        return transfer_pb2.AbortIngestsResponse(
            verdicts=[
                transfer_pb2.IngestVerdict(ingest=self._state.uploads[ingest_id].ingest)
                for ingest_id in request.ingest_ids
            ]
        )


def _open(ingest_id: str) -> transfer_pb2.BeginIngestVerdict:
    return transfer_pb2.BeginIngestVerdict(open=transfer_pb2.OpenIngest(ingest_id=ingest_id, grant=0))
