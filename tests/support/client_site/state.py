"""What the fake services share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import grpc

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.checksums import Checksum
from librarian.errors import LibrarianError
from librarian.hashing import hash_file, hash_tree
from librarian.manifests import Member, MemberKind, tree_digest
from librarian.messages import checksum_to_proto, member_to_proto
from svckit.status import code_of, trailers_of

STORE = "main"
PROOF = b"only this store knows"


@dataclass
class Upload:
    """One ingest and its staged bytes at `path`; `complete` has the members whose last message came."""

    ingest: transfer_pb2.Ingest
    spec: transfer_pb2.IngestSpec
    path: Path
    complete: set[str] = field(default_factory=set)


@dataclass
class State:
    """`on` is done as a method is called; `fail` has errors for its next calls; `break_after` cuts the next
    WriteUpload streams (one number each) after so many messages, `break_reads` likewise ReadDataset's.
    """

    root: Path
    offer_staging: bool = True
    offer_door: bool = False
    door_address: str = ""
    existing: dict[str, transfer_pb2.ExistingDataset] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    datasets: dict[str, catalog_pb2.Dataset] = field(default_factory=dict)
    members: dict[str, list[common_pb2.Member]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    fail: dict[str, list[LibrarianError]] = field(default_factory=dict)
    on: dict[str, Callable[[], object]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    break_reads: list[int] = field(default_factory=list)
    written_messages: int = 0
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    looks_before_final: int = 1

    def __post_init__(self) -> None:
        for directory in (self.staging, self.kept):
            directory.mkdir(parents=True)
        (self.staging / "proof").write_bytes(PROOF)

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def kept(self) -> Path:
        return self.root / "kept"

    async def enter(self, method: str, context: grpc.aio.ServicerContext) -> None:  # type: ignore[type-arg]
        """Counts the call, and fails it where a test wants that."""
        self.calls[method] += 1
        self.metadata[method] = {key: str(value) for key, value in context.invocation_metadata() or ()}
        if method in self.on:
            self.on[method]()
        if errors := self.fail.get(method):
            await self.abort(context, errors.pop(0))

    async def abort(self, context: grpc.aio.ServicerContext, error: LibrarianError) -> None:  # type: ignore[type-arg]
        message, trailers = trailers_of(error)
        await context.abort(code_of(error), message, trailing_metadata=trailers)

    def keep(self, name: str, path: Path, *, algorithm: str = "sha256", uid: str = "") -> catalog_pb2.Dataset:
        """Makes what lies at `path` a dataset."""
        uid = uid or str(uuid4())
        target = self.kept / uid
        path.rename(target)
        members = self._members(target, algorithm)
        digest = self._digest(target, algorithm, members)
        dataset = catalog_pb2.Dataset(
            uid=uid,
            name=name,
            kind=common_pb2.DATASET_KIND_DIRECTORY if target.is_dir() else common_pb2.DATASET_KIND_FILE,
            digest=checksum_to_proto(digest),
            size_bytes=sum(member.size_bytes for member in members) or _size(target),
            member_count=len(members) if target.is_dir() else 1,
            uploader="tester",
            site="here",
            state=catalog_pb2.DATASET_STATE_LIVE,
            replicas=[
                catalog_pb2.Replica(store=STORE, state=common_pb2.REPLICA_STATE_AVAILABLE),
            ],
        )
        dataset.create_time.GetCurrentTime()
        dataset.publish_time.GetCurrentTime()
        self.datasets[name] = dataset
        self.members[uid] = [member_to_proto(member) for member in members]
        self.existing[name] = transfer_pb2.ExistingDataset(
            uid=uid, kind=dataset.kind, digest=dataset.digest, size_bytes=dataset.size_bytes
        )
        return dataset

    def _members(self, path: Path, algorithm: str) -> list[Member]:
        return hash_tree(path, algorithm) if path.is_dir() else []

    def _digest(self, path: Path, algorithm: str, members: list[Member]) -> Checksum:
        return tree_digest(algorithm, members) if path.is_dir() else hash_file(path, algorithm)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def is_file(kind: int) -> bool:
    return kind in {0, MemberKind.FILE}
