"""What the conformance suite asks of a mover, in few words; the store service behind it is real."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from store_lab.served import Served, request_id, served

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2 as pb
from librarian.manifests import DatasetKind
from mover_lab.ways import Way, way_of
from svckit.clock import SystemClock
from svckit.telemetry import get_logger
from transfer_svc.movers.base import Batch, Item, ItemProgress, ItemState, Mover
from transfer_svc.movers.registry import make_movers
from transfer_svc.stores import Stores

PATIENCE_SECONDS = 90.0


@dataclass
class Ground:
    """A service and a mover, for any number of labs."""

    site: Served
    way: Way
    mover: Mover
    directory: Path
    labs: int = 0

    async def lab(self) -> MoverLab:
        self.labs += 1
        names = [f"{part}{self.labs}" for part in ("here", "away")]
        for name in names:
            await self.site.add_store(name, **self.way.fields_of(name))
        here, away = (self.directory / name for name in names)
        return MoverLab(self.site, self.way, self.mover, here, away)


@dataclass
class MoverLab:
    """`here`: the store that is read, `away`: the one where things land, named like their folders."""

    site: Served
    way: Way
    mover: Mover
    here: Path
    away: Path

    async def hold(self, *names: str) -> dict[str, pb.AdoptedTree]:
        """Takes what lies at <here>/<name> into the store's books."""
        request = pb.AdoptTreesRequest(store=self.here.name, names=names, algorithm="sha256", facts_json="{}")
        trees = [tree async for answer in self.site.store.AdoptTrees(request) for tree in answer.trees]
        for tree in trees:
            assert not tree.HasField("error"), tree
        return {tree.name: tree for tree in trees}

    async def offered(self, *names: str, extra_bytes: int = 0) -> list[Item]:
        """Items with a landing each, as the receiver would answer an offer."""
        return await self.landed([(tree, extra_bytes) for tree in (await self.hold(*names)).values()])

    def tree(self, name: str) -> pb.AdoptedTree:
        """As `hold` would tell of a file, which is not read."""
        size = (self.here / name).stat().st_size
        kind = common_pb2.DATASET_KIND_FILE
        return pb.AdoptedTree(name=name, uid=str(uuid.uuid4()), kind=kind, size_bytes=size, member_count=1)

    async def landed(self, trees: Iterable[tuple[pb.AdoptedTree, int]]) -> list[Item]:
        found = [(str(uuid.uuid4()), tree, extra) for tree, extra in trees]
        specs = [
            pb.UploadSpec(
                upload_id=upload_id,
                name=tree.name,
                kind=tree.kind,
                size_bytes=tree.size_bytes + extra,
                inode_count=tree.member_count + 100,
                algorithm="sha256",
            )
            for upload_id, tree, extra in found
        ]
        request = pb.BeginUploadsRequest(
            request_id=request_id(), store=self.away.name, uploads=specs, token_id="t1", subject="peer"
        )
        answer = await self.site.store.BeginUploads(request)
        assert not answer.errors, answer.errors
        landing = answer.grant
        if self.way.rsync_root:
            below = Path(landing.staging_path).relative_to(self.away.parent)
            landing.rsync_address = f"{self.way.rsync_root}/{below}"
        return [
            Item(
                transfer_id=str(uuid.uuid4()),
                uid=tree.uid,
                upload_id=upload_id,
                name=tree.name,
                kind=DatasetKind(tree.kind),
                algorithm="sha256",
                size_bytes=tree.size_bytes,
                member_count=tree.member_count,
                store=self.here.name,
                landing=landing,
            )
            for upload_id, tree, _ in found
        ]

    def batch(self, items: Iterable[Item], **fields: object) -> Batch:
        base = Batch(str(uuid.uuid4()), self.way.peer, tuple(items))
        return replace(base, **fields)  # type: ignore[arg-type]

    async def start(self, batch: Batch) -> str:
        handle = await self.mover.prepare(batch)
        await self.mover.start(batch, handle)
        return handle

    async def until(
        self, handle: str, enough: Callable[[dict[str, ItemProgress]], bool]
    ) -> dict[str, ItemProgress]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = {one.upload_id: one for one in await self.mover.poll(handle)}
                if enough(found):
                    return found
                await self.mover.wait(handle, 0.01)

    async def move(self, items: Iterable[Item], **fields: object) -> dict[str, ItemProgress]:
        """To the end of all; by upload id."""
        handle = await self.start(self.batch(items, **fields))
        return await self.until(handle, ended)

    async def commit(self, items: Iterable[Item]) -> dict[str, pb.CommitUploadStatus]:
        """What the receiver finds when it re-reads; by upload id."""
        items = list(items)
        claims = [pb.CommitUploadItem(upload_id=item.upload_id) for item in items]
        for claim, item in zip(claims, items, strict=True):
            claim.digest.CopyFrom(await self.digest_of(item))
            claim.size_bytes, claim.member_count = item.size_bytes, item.member_count
        answer = await self.site.store.CommitUploads(
            pb.CommitUploadsRequest(
                request_id=request_id(), store=self.away.name, items=claims, timeout_ms=20_000
            )
        )
        return {status.upload_id: status for status in answer.statuses}

    async def digest_of(self, item: Item) -> common_pb2.Checksum:
        return (await self.hold(item.name))[item.name].digest

    def staged(self, item: Item) -> Path:
        return Path(item.landing.staging_path) / item.upload_id


def mover_processes() -> list[int]:
    """Of rsync, as its mover starts it."""
    children = psutil.Process().children(recursive=True)
    return [one.pid for one in children if "--partial" in _arguments(one)]


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def mover_threads_at_work() -> int:
    """Frames of the copying and reading code in any thread but this one."""
    mine = threading.get_ident()
    names = {"copying.py", "streamfiles.py", "posix.py"}
    return sum(
        Path(frame.f_code.co_filename).name in names
        for ident, top in sys._current_frames().items()
        if ident != mine
        for frame, _ in traceback.walk_stack(top)
    )


def ended(found: dict[str, ItemProgress]) -> bool:
    return all(one.state is not ItemState.MOVING for one in found.values())


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[None]:
    """A file system of its own. For root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@asynccontextmanager
async def a_ground(way_name: str, dsn: str, directory: Path) -> AsyncIterator[Ground]:
    async with served(dsn, directory) as site, way_of(way_name, directory, site.door_address) as way:
        stores = Stores({"store": site.store}, SystemClock())
        async with make_movers(stores, way.link_of, SystemClock(), get_logger("worker")) as movers:
            yield Ground(site, way, movers[way.mover], directory)
