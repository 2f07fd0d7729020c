"""Looking after copies: verify, register, scan. The site does the work and tells how far it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from uuid import uuid4

from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.checksums import DEFAULT_ALGORITHM
from librarian.client.datasets import DatasetsClient
from librarian.connection.patience import PASSING, wait_again
from librarian.progress import Progress


class UpkeepClient(DatasetsClient):
    async def verify(self, name: str, *, progress: Progress | None = None) -> list[store_pb2.ReplicaReport]:
        """Re-reads every byte of every copy of a dataset and records what was found; a report a copy."""
        dataset = await self.show(name)
        request = transfer_pb2.VerifyReplicasRequest(dataset_uid=dataset.uid)
        return [found.report async for found in self._verify(request, progress or Progress())]

    async def verify_store(
        self, store: str, *, after_uid: str = "", progress: Progress | None = None
    ) -> AsyncGenerator[transfer_pb2.VerifyReplicasResponse, None]:
        """As `verify`, of every copy on a store. Each answer has a report and the dataset's name;
        `after_uid` goes on after an interruption.
        """
        request = transfer_pb2.VerifyReplicasRequest(store=store, after_uid=after_uid)
        async for found in self._verify(request, progress or Progress()):
            yield found

    async def register(
        self,
        store: str,
        *,
        path: str = "",
        glob: str = "",
        algorithm: str = DEFAULT_ALGORITHM,
        tags: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> transfer_pb2.RegisterTreesResponse:
        """Adopts what lies on a store already, without copying: each path below its root that matches
        `glob` is one dataset; without a glob `path` is. The answer has the counts and all refusals.

        Interrupted, call it again: what was adopted is not read again unless it changed.
        """
        progress = progress or Progress()
        progress.begin("registering")
        patience = self._site.patience()
        refusals: dict[str, transfer_pb2.RegisterRefusal] = {}
        answer = transfer_pb2.RegisterTreesResponse()
        while True:
            request = transfer_pb2.RegisterTreesRequest(
                request_id=str(uuid4()),
                store=store,
                path=path,
                glob=glob,
                algorithm=algorithm,
                tags=tags or {},
            )
            try:
                async for answer in self._site.stream(self._site.transfer.RegisterTrees, request):
                    patience.progressed()
                    refusals.update((refusal.name, refusal) for refusal in answer.refusals)
                    progress.set(
                        done_bytes=answer.hashed_bytes,
                        total_bytes=answer.found_bytes,
                        done_count=answer.registered_count + answer.already_count + answer.refused_count,
                        total_count=answer.found_count,
                    )
            except PASSING as error:
                await wait_again(patience, error)
                continue
            result = transfer_pb2.RegisterTreesResponse()
            result.CopyFrom(answer)
            del result.refusals[:]
            result.refusals.extend(refusals.values())
            return result

    async def scan(
        self, store: str, *, progress: Progress | None = None
    ) -> AsyncGenerator[store_pb2.ScanFinding, None]:
        """Compares a store with the catalogue and changes neither: what is missing, changed, dark or
        not catalogued.
        """
        progress = progress or Progress()
        progress.begin("scanning")
        request = transfer_pb2.ScanStoreRequest(store=store)
        async for answer in self._site.stream(self._site.transfer.ScanStore, request):
            progress.set(done_count=answer.scanned_count)
            for finding in answer.findings:
                yield finding

    async def _verify(
        self, request: transfer_pb2.VerifyReplicasRequest, progress: Progress
    ) -> AsyncGenerator[transfer_pb2.VerifyReplicasResponse, None]:
        """Answers with a report. A broken stream over a store goes on after the last one."""
        progress.begin("verifying")
        patience = self._site.patience()
        resumable = request.WhichOneof("what") == "store"
        read_before = read = 0
        while True:
            request.request_id = str(uuid4())
            try:
                async for answer in self._site.stream(self._site.transfer.VerifyReplicas, request):
                    patience.progressed()
                    read = read_before + answer.verified_bytes
                    progress.set(
                        done_bytes=read,
                        total_bytes=read_before + answer.total_bytes if answer.total_bytes else 0,
                    )
                    if answer.HasField("report"):
                        yield answer
                        if resumable:
                            request.after_uid = answer.report.uid
                return  # noqa: TRY300 - the loop goes on only after a break
            except PASSING as error:
                if not resumable:
                    raise
                await wait_again(patience, error)
                read_before = read
