"""One file ingest step by step, where the client would take all steps at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2, transfer_pb2_grpc
from librarian.checksums import new_hasher
from librarian.testing.shared import SharedSite
from librarian.testing.site import Site

FINAL = {
    transfer_pb2.INGEST_STATE_PUBLISHED,
    transfer_pb2.INGEST_STATE_ABORTED,
    transfer_pb2.INGEST_STATE_EXPIRED,
    transfer_pb2.INGEST_STATE_FAILED,
}
PATIENCE_SECONDS = 90.0


class RawIngest:
    def __init__(self, site: Site | SharedSite, name: str, data: bytes) -> None:
        self._channel = grpc.insecure_channel(site.address.removeprefix("grpc://"))
        self._stub = transfer_pb2_grpc.TransferServiceStub(self._channel)
        self._metadata = [("authorization", f"Bearer {site.token}")]
        self._name = name
        self._data = data
        self.ingest_id = ""
        self.staged = Path()

    def begin(self) -> None:
        """Opens it, and writes the bytes into the staging area. Again: goes on with it."""
        spec = transfer_pb2.IngestSpec(
            ingest_id=self.ingest_id,
            name=self._name,
            kind=common_pb2.DATASET_KIND_FILE,
            size_bytes=len(self._data),
            algorithm="sha256",
        )
        request = transfer_pb2.BeginIngestsRequest(request_id=str(uuid.uuid4()), items=[spec])
        answer = self._call(self._stub.BeginIngests, request)
        [verdict] = answer.verdicts
        assert verdict.HasField("open"), verdict
        self.ingest_id = verdict.open.ingest_id
        self.staged = Path(answer.grants[0].staging_path) / self.ingest_id
        self.staged.write_bytes(self._data)

    def commit(self, *, digest: bytes = b"", size_bytes: int | None = None) -> transfer_pb2.Ingest:
        """Hands it over, with true claims unless others are given, and waits until it is final."""
        hasher = new_hasher("sha256")
        hasher.update(self._data)
        item = transfer_pb2.CommitIngestItem(
            ingest_id=self.ingest_id,
            digest=common_pb2.Checksum(algorithm="sha256", value=digest or hasher.digest()),
            size_bytes=len(self._data) if size_bytes is None else size_bytes,
            member_count=1,
        )
        request = transfer_pb2.CommitIngestsRequest(request_id=str(uuid.uuid4()), items=[item])
        self._call(self._stub.CommitIngests, request)
        waiting = transfer_pb2.WaitIngestsRequest(ingest_ids=[self.ingest_id], timeout_ms=1000)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            [verdict] = self._call(self._stub.WaitIngests, waiting).verdicts
            if verdict.ingest.state in FINAL:
                return verdict.ingest
        raise AssertionError(f"{self._name} is not final after {PATIENCE_SECONDS} s: {verdict}")

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        """Again while the site, or a service of it, is being started again: repeating is safe."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return method(request, metadata=self._metadata, timeout=10, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
