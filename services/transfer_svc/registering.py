"""RegisterTrees: trees that lie on a store already become datasets where they lie.

Find, adopt (the store hashes and writes sidecars), tell the catalogue; in chunks, one after another, while
the search goes on ahead. Nothing is remembered here: asked again, the store answers from its sidecars and
the catalogue says what it has.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.checksums import check_algorithm
from librarian.errors import LibrarianError, NameTaken
from librarian.globs import compile_glob
from librarian.manifests import DatasetKind
from librarian.messages import error_of, item_error
from librarian.names import check_name, check_store_name
from svckit.auth import Caller
from svckit.idempotency import check_request_id
from transfer_svc import queries, rules
from transfer_svc.context import Context
from transfer_svc.members import send_members
from transfer_svc.origins import Origins
from transfer_svc.outcomes import Bytes
from transfer_svc.streaming import Tell, streamed

if TYPE_CHECKING:
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

# Datasets adopted by one call and registered in one transaction.
CHUNK: Final = 500
# Chunks of names the search may be ahead.
_AHEAD: Final = 200
_MEMBER_STREAMS: Final = 4

Live = Mapping[str, catalog_pb2.Dataset]


async def register_trees(
    context: Context, origins: Origins, caller: Caller, request: pb.RegisterTreesRequest
) -> AsyncGenerator[pb.RegisterTreesResponse, None]:
    """Progress, refusals as they come, `done` at the end. Raises what is wrong with the request itself,
    and what keeps the store or the catalogue from answering: asked again, it goes on.
    """
    check_request_id(request.request_id)
    check_store_name(request.store)
    rules.check_tags(request.tags)
    check_algorithm(rules.algorithm_of(request.algorithm))
    if request.path:
        check_name(request.path)
    if request.glob:
        compile_glob(request.glob)
    service = await context.stores.service_of(request.store)
    registration = Registration(context, origins, caller, request, service)
    async for told in streamed(registration.work, registration.progress):
        yield told


class Registration:
    """One call, from its start to its end."""

    def __init__(
        self,
        context: Context,
        origins: Origins,
        caller: Caller,
        request: pb.RegisterTreesRequest,
        service: StoreServiceAsyncStub,
    ) -> None:
        self._context = context
        self._origins = origins
        self._caller = caller
        self._request = request
        self._service = service
        self._tags_json = rules.tags_json(request.tags)
        self._found: asyncio.Queue[list[str] | None] = asyncio.Queue(_AHEAD)
        self._counts = pb.RegisterTreesResponse()
        self._refusals: list[pb.RegisterRefusal] = []

    def progress(self) -> pb.RegisterTreesResponse:
        """Counts so far, and the refusals not told yet."""
        told = pb.RegisterTreesResponse(refusals=self._refusals)
        told.MergeFrom(self._counts)
        self._refusals = []
        return told

    async def work(self, tell: Tell[pb.RegisterTreesResponse]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._find())
            while (names := await self._found.get()) is not None:
                await self._register_chunk(names, tell)
        self._counts.done = True
        await tell(self.progress())

    async def _find(self) -> None:
        request = self._request
        names: list[str] = []
        search = store_pb2.FindTreesRequest(store=request.store, path=request.path, glob=request.glob)
        async for part in self._service.FindTrees(search):
            self._counts.found_count += len(part.names)
            self._counts.found_bytes += sum(part.size_bytes)
            names += part.names
            while len(names) >= CHUNK:
                await self._found.put(names[:CHUNK])
                del names[:CHUNK]
        if names:
            await self._found.put(names)
        await self._found.put(None)

    async def _register_chunk(self, names: Sequence[str], tell: Tell[pb.RegisterTreesResponse]) -> None:
        good = [name for name in names if self._is_allowed(name)]
        if good:
            live = await self._live(good)
            trees = await self._adopt([name for name in good if self._may_adopt(name, live)], tell)
            self._context.faults.hit("register.adopted")
            arriving = await self._arriving(trees)
            fresh = [tree for tree in trees if not self._is_known(tree, live, arriving)]
            ready = await self._with_members(fresh)
            self._context.faults.hit("register.members_sent")
            if ready:
                await self._publish(ready)
                self._context.faults.hit("register.published")
        await tell(self.progress())

    def _is_allowed(self, name: str) -> bool:
        try:
            check_name(name)
            self._caller.check_name(name)
        except LibrarianError as error:
            self._refuse(name, error)
            return False
        return True

    async def _live(self, names: Sequence[str]) -> Live:
        response = await self._context.catalog.BatchGetDatasets(
            catalog_pb2.BatchGetDatasetsRequest(names=names)
        )
        return {dataset.name: dataset for dataset in response.datasets}

    def _may_adopt(self, name: str, live: Live) -> bool:
        """The store gives what it adopts a uid of its own, which cannot be another copy of a dataset."""
        dataset = live.get(name)
        if dataset is None or any(replica.store == self._request.store for replica in dataset.replicas):
            return True
        elsewhere = ", ".join(sorted(replica.store for replica in dataset.replicas)) or "no store"
        self._refuse(
            name,
            NameTaken(
                f"{name} is a dataset already, with its bytes on {elsewhere}",
                remedy="a second copy cannot be registered: move it away, or give it another name",
                name=name,
                uid=dataset.uid,
            ),
        )
        return False

    async def _adopt(
        self, names: Sequence[str], tell: Tell[pb.RegisterTreesResponse]
    ) -> list[store_pb2.AdoptedTree]:
        """The trees the store has hashed, or had before; those it could not are refused."""
        adopted: list[store_pb2.AdoptedTree] = []
        if not names:
            return adopted
        facts = {
            "uploader": self._caller.subject,
            "site": self._origins.site,
            "tags": dict(self._request.tags),
        }
        request = store_pb2.AdoptTreesRequest(
            store=self._request.store,
            names=names,
            algorithm=rules.algorithm_of(self._request.algorithm),
            facts_json=json.dumps(facts, ensure_ascii=False),
        )
        before = self._counts.hashed_bytes
        async for answer in self._service.AdoptTrees(request):
            self._counts.hashed_bytes = before + answer.hashed_bytes
            for tree in answer.trees:
                if tree.HasField("error"):
                    self._refuse(tree.name, error_of(tree.error))
                else:
                    adopted.append(tree)
            await tell(self.progress())
        return adopted

    async def _arriving(self, trees: Sequence[store_pb2.AdoptedTree]) -> set[str]:
        """Trees that an ingest has just put there: its worker tells the catalogue."""
        held = [tree.uid for tree in trees if tree.already]
        if not held:
            return set()
        async with self._context.database.hot() as connection:
            return await queries.datasets_arriving(connection, held)

    def _is_known(self, tree: store_pb2.AdoptedTree, live: Live, arriving: set[str]) -> bool:
        """Whether nothing is left to do for this tree: registered before and unchanged, or refused."""
        if tree.uid in arriving:
            self._counts.already_count += 1
            return True
        dataset = live.get(tree.name)
        if dataset is None:
            return False
        if dataset.uid != tree.uid:
            self._refuse(
                tree.name,
                NameTaken(
                    f"{tree.name} is dataset {dataset.uid}, and the store holds it as {tree.uid}",
                    remedy="`librarian verify` the dataset",
                    name=tree.name,
                    uid=dataset.uid,
                ),
            )
            return True
        if tree.already:
            self._counts.already_count += 1
        return tree.already

    async def _with_members(self, trees: Sequence[store_pb2.AdoptedTree]) -> list[store_pb2.AdoptedTree]:
        """Those whose members the catalogue has; the others are refused for now."""
        room = asyncio.Semaphore(_MEMBER_STREAMS)

        async def send(tree: store_pb2.AdoptedTree) -> bool:
            if int(tree.kind) != DatasetKind.DIRECTORY:
                return True
            async with room:
                try:
                    await send_members(
                        self._context.catalog, self._service, store=self._request.store, uid=tree.uid
                    )
                except LibrarianError as error:
                    self._refuse(tree.name, error)
                    return False
                return True

        sent = await asyncio.gather(*(send(tree) for tree in trees))
        return [tree for tree, is_sent in zip(trees, sent, strict=True) if is_sent]

    async def _publish(self, trees: Sequence[store_pb2.AdoptedTree]) -> None:
        request = catalog_pb2.RegisterDatasetsRequest(
            request_id=self._context.ids.new_uid(), datasets=self._columns(trees), store=self._request.store
        )
        async for response in self._context.catalog.RegisterDatasets(iter([request])):
            self._counts.registered_count += response.published_count
            for verdict in response.verdicts:
                if verdict.outcome == catalog_pb2.PUBLISH_OUTCOME_ALREADY_THERE:
                    self._counts.already_count += 1
                else:
                    self._refuse(trees[verdict.index].name, error_of(verdict.error))

    def _columns(self, trees: Sequence[store_pb2.AdoptedTree]) -> catalog_pb2.DatasetColumns:
        count = len(trees)
        uploader = self._caller.subject
        return catalog_pb2.DatasetColumns(
            uid=[tree.uid for tree in trees],
            name=[tree.name for tree in trees],
            kind=[common_pb2.DatasetKind.ValueType(tree.kind) for tree in trees],
            digest_algorithm=[tree.digest.algorithm for tree in trees],
            digest=[tree.digest.value for tree in trees],
            size_bytes=[tree.size_bytes for tree in trees],
            member_count=[tree.member_count for tree in trees],
            uploader=[uploader] * count,
            # When its data was last written.
            create_time_us=[tree.mtime_ns // 1000 for tree in trees],
            tags_json=[self._tags_json] * count,
            origin=[self._origin(tree) for tree in trees],
            traceparent=[rules.traceparent_of(tree.uid) for tree in trees],
            site=[self._origins.site] * count,
        )

    def _origin(self, tree: store_pb2.AdoptedTree) -> bytes:
        return self._origins.signed(
            uid=tree.uid,
            name=tree.name,
            kind=tree.kind,
            content=Bytes(tree.digest.algorithm, tree.digest.value, tree.size_bytes, tree.member_count),
            uploader=self._caller.subject,
            create_time_us=tree.mtime_ns // 1000,
            traceparent=rules.traceparent_of(tree.uid),
        )

    def _refuse(self, name: str, error: LibrarianError) -> None:
        self._counts.refused_count += 1
        self._refusals.append(pb.RegisterRefusal(name=name, error=item_error(error)))
