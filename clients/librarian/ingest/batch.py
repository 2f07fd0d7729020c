"""One batch of datasets on its way in: begin, stage, commit, wait. One bad item never stops the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.checksums import Checksum
from librarian.connection.doors import opened_doors
from librarian.connection.patience import keep_trying
from librarian.errors import IngestClosed, IngestNotFound, LibrarianError
from librarian.filehash import hash_entry, hash_walked
from librarian.ingest.context import PutContext
from librarian.ingest.items import PutResult, Source
from librarian.ingest.local import (
    Staged,
    StagingArea,
    prove_staging,
    stage_files,
    stage_tree,
    thread_count,
)
from librarian.ingest.planning import (
    UNDER_WAY_STATES,
    claims,
    existing_result,
    failed,
    ingest_spec,
    may_be_same,
    result_of,
)
from librarian.ingest.reading import UploadJob
from librarian.ingest.upload import StreamStaging
from librarian.ingest.waiting import wait_until_final
from librarian.journal import Journal
from librarian.manifests import DatasetKind, tree_digest
from librarian.messages import error_of

Opened = tuple[Source, str]


class Batch:
    """`sources` in order; `results` gains one for each of them, by its place."""

    def __init__(self, context: PutContext, sources: Sequence[Source], journal: Journal) -> None:
        self._context = context
        self._sources = list(sources)
        self._journal = journal
        self._existing: list[tuple[int, transfer_pb2.ExistingDataset]] = []
        self._opened: dict[int, list[tuple[int, str]]] = {}
        self._grants: list[store_pb2.UploadGrant] = []
        self._resumed: set[str] = set()
        self._staged: dict[int, tuple[str, Staged]] = {}
        self.results: dict[int, PutResult] = {}

    async def begin(self) -> None:
        resumable = {
            place: ingest_id
            for place, source in enumerate(self._sources)
            if (ingest_id := self._journal.ingests.get(source.item.name))
        }
        self._resumed = set(resumable.values())
        closed = await self._begin(range(len(self._sources)), resumable)
        if closed:
            await self._let_finish([resumable[place] for place in closed])
            await self._begin(closed, {})
        self._journal.began(
            {
                self._sources[place].item.name: ingest_id
                for opened in self._opened.values()
                for place, ingest_id in opened
            }
        )

    async def _begin(self, places: Sequence[int], ingest_ids: dict[int, str]) -> list[int]:
        """Answers the places whose earlier ingest cannot be gone on with."""
        context = self._context
        request = transfer_pb2.BeginIngestsRequest(
            request_id=str(uuid4()),
            store=context.store,
            items=[
                ingest_spec(self._sources[place], context.algorithm, ingest_ids.get(place, ""))
                for place in places
            ],
        )
        answer = await keep_trying(
            lambda: context.site.unary(context.site.transfer.BeginIngests, request), context.patience()
        )
        first_grant = len(self._grants)
        self._grants += answer.grants
        closed = []
        for place, verdict in zip(places, answer.verdicts, strict=True):
            if verdict.HasField("open"):
                opened = self._opened.setdefault(first_grant + verdict.open.grant, [])
                opened.append((place, verdict.open.ingest_id))
            elif verdict.HasField("existing"):
                self._existing.append((place, verdict.existing))
            else:
                error = error_of(verdict.error)
                if place in ingest_ids and isinstance(error, IngestNotFound | IngestClosed):
                    closed.append(place)
                else:
                    self._fail(place, error)
        return closed

    async def _let_finish(self, ingest_ids: Sequence[str]) -> None:
        """Ingests of an earlier run that the site is carrying out: then their names have their answer."""
        site, under_way = self._context.site, []
        for ingest_id in ingest_ids:
            with suppress(IngestNotFound):
                request = transfer_pb2.GetIngestRequest(ingest_id=ingest_id)
                answer = await site.unary(site.transfer.GetIngest, request)
                if answer.ingest.state in UNDER_WAY_STATES:
                    under_way.append(ingest_id)
        await wait_until_final(self._context, under_way)

    async def stage(self) -> None:
        for place, existing in self._existing:
            await self._compare(place, existing)
        for grant, opened in self._opened.items():
            await self._stage(self._grants[grant], opened)

    async def _compare(self, place: int, existing: transfer_pb2.ExistingDataset) -> None:
        source, context = self._sources[place], self._context
        digest = None
        try:
            if may_be_same(source, existing):
                algorithm = existing.digest.algorithm
                digest = await context.in_thread(lambda: _digest(source, algorithm, context))
            self.results[place] = existing_result(source, existing, digest)
        except LibrarianError as error:
            self._fail(place, error)

    async def _stage(self, grant: store_pb2.UploadGrant, opened: list[tuple[int, str]]) -> None:
        context = self._context
        area = await context.in_thread(lambda: prove_staging(grant))
        if area is None:
            await self._stage_by_stream(grant, opened)
            return
        resume = bool(self._resumed)
        files = [one for one in opened if self._sources[one[0]].kind is DatasetKind.FILE]
        sources = [(self._sources[place], ingest_id) for place, ingest_id in files]
        verdicts = await context.in_thread(
            lambda: stage_files(area, sources, context.algorithm, resume=resume, tick=context.tick)
        )
        for (place, ingest_id), verdict in zip(files, verdicts, strict=True):
            self._staging_ended(place, ingest_id, verdict)
        for place, ingest_id in opened:
            if self._sources[place].kind is DatasetKind.DIRECTORY:
                await self._stage_tree(area, place, ingest_id)

    async def _stage_tree(self, area: StagingArea, place: int, ingest_id: str) -> None:
        source, context = self._sources[place], self._context
        resume = ingest_id in self._resumed
        try:
            staged = await context.in_thread(
                lambda: stage_tree(
                    area, source, ingest_id, context.algorithm, resume=resume, tick=context.tick
                )
            )
        except LibrarianError as error:
            self._staging_ended(place, ingest_id, error)
        else:
            self._staging_ended(place, ingest_id, staged)

    async def _stage_by_stream(self, grant: store_pb2.UploadGrant, opened: list[tuple[int, str]]) -> None:
        context = self._context
        jobs = [UploadJob.of(self._sources[place], ingest_id) for place, ingest_id in opened]

        async def renew() -> str:
            place, ingest_id = opened[0]
            spec = ingest_spec(self._sources[place], context.algorithm, ingest_id)
            request = transfer_pb2.BeginIngestsRequest(
                request_id=str(uuid4()), store=context.store, items=[spec]
            )
            answer = await context.site.unary(context.site.transfer.BeginIngests, request)
            return answer.grants[0].ticket if answer.grants else grant.ticket

        async with opened_doors(context.site, grant.store, grant.data_address, grant.ticket) as doors:
            staging = StreamStaging(
                context.site,
                doors,
                algorithm=context.algorithm,
                tick=context.tick,
                patience=context.patience(),
                renew=renew,
            )
            await staging.run(jobs, resume=bool(self._resumed))
        for (place, ingest_id), job in zip(opened, jobs, strict=True):
            self._staging_ended(place, ingest_id, job.error or job.staged(context.algorithm))

    def _staging_ended(self, place: int, ingest_id: str, verdict: Staged | LibrarianError) -> None:
        if isinstance(verdict, LibrarianError):
            self._fail(place, verdict)
        else:
            self._staged[place] = (ingest_id, verdict)

    async def finish(self) -> None:
        """Commits what was staged, gives up what was not, and waits for the verdicts."""
        context = self._context
        await self._give_up_failed()
        if self._staged:
            request = transfer_pb2.CommitIngestsRequest(
                request_id=str(uuid4()), items=claims(list(self._staged.values()))
            )
            answer = await keep_trying(
                lambda: context.site.unary(context.site.transfer.CommitIngests, request),
                context.patience(),
            )
            waiting = []
            for (place, (ingest_id, _)), verdict in zip(self._staged.items(), answer.verdicts, strict=True):
                if verdict.HasField("error"):
                    self._fail(place, error_of(verdict.error))
                else:
                    waiting.append(ingest_id)
            verdicts = await wait_until_final(context, waiting)
            for place, (ingest_id, staged) in self._staged.items():
                ended = verdicts.get(ingest_id)
                if isinstance(ended, LibrarianError):
                    self._fail(place, ended)
                elif ended is not None:
                    self.results[place] = result_of(self._sources[place], staged, ended)
        context.progress.add_count(len(self._sources))
        self._journal.ended(source.item.name for source in self._sources)

    async def _give_up_failed(self) -> None:
        """Whatever was opened and will not be committed gives its room back now, not in a day."""
        given_up = [
            ingest_id
            for opened in self._opened.values()
            for place, ingest_id in opened
            if place in self.results
        ]
        if given_up:
            site = self._context.site
            request = transfer_pb2.AbortIngestsRequest(request_id=str(uuid4()), ingest_ids=given_up)
            # It expires by itself; the reason for giving up is what must be told.
            with suppress(LibrarianError):
                await site.unary(site.transfer.AbortIngests, request)

    def _fail(self, place: int, error: LibrarianError) -> None:
        self.results[place] = failed(self._sources[place].item, error)


def _digest(source: Source, algorithm: str, context: PutContext) -> Checksum:
    if source.entry is not None:
        return hash_entry(os.fspath(source.path), source.entry, algorithm, context.tick, alone=True)
    assert source.tree is not None, "a directory has its tree"
    members = hash_walked(source.tree, algorithm, threads=thread_count(), progress=context.tick)
    return tree_digest(algorithm, members)
