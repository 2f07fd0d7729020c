"""A store service in memory that keeps the contract: reservations, staging, commit, confirm, abort."""

# ruff: noqa: N802 - gRPC's names
from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2 as pb
from librarian.api.store.v1.store_pb2_grpc import StoreServiceServicer
from librarian.checksums import Checksum, checksum_of
from librarian.errors import (
    ChecksumMismatch,
    LibrarianError,
    NothingStaged,
    PathHeldByUpload,
    PathNotFound,
    PathTaken,
    ReplicaNotFound,
    StoreDisabled,
    StoreFull,
    StoreNotFound,
    UploadActive,
    UploadClosed,
    UploadConfirmed,
    UploadNotFound,
)
from librarian.manifests import Member, MemberKind, tree_digest
from librarian.messages import checksum_to_proto, item_error, member_to_proto
from transfer_lab.trouble import Trouble

FILE, DIRECTORY = common_pb2.DATASET_KIND_FILE, common_pb2.DATASET_KIND_DIRECTORY
_FINAL = {
    pb.UPLOAD_STATE_COMMITTED,
    pb.UPLOAD_STATE_CONFIRMED,
    pb.UPLOAD_STATE_FAILED,
    pb.UPLOAD_STATE_ABORTED,
    pb.UPLOAD_STATE_EXPIRED,
}


@dataclass
class Content:
    """What was staged, or lies on the store."""

    digest: Checksum
    size_bytes: int
    members: list[Member] = field(default_factory=list)

    @property
    def member_count(self) -> int:
        return len(self.members) or 1


def file_content(data: bytes, algorithm: str = "sha256") -> Content:
    return Content(checksum_of(algorithm, data), len(data))


def tree_content(files: Mapping[str, bytes], algorithm: str = "sha256") -> Content:
    members = [
        Member(path, MemberKind.FILE, len(data), checksum_of(algorithm, data))
        for path, data in sorted(files.items())
    ]
    return Content(tree_digest(algorithm, members), sum(map(len, files.values())), members)


@dataclass
class Upload:
    spec: pb.UploadSpec
    store: str
    state: Any = pb.UPLOAD_STATE_OPEN
    staged: Content | None = None
    active: bool = False
    error: LibrarianError | None = None
    facts_json: str = ""
    commit_count: int = 0


@dataclass
class Space:
    """One store of the service."""

    name: str
    capacity: int = 10**9
    priority: int = 0
    enabled: bool = True
    ingestible: bool = True
    reserved: int = 0


class FakeStores(StoreServiceServicer):
    """`paths`: (store, name) to the uid lying there. `slow`: uploads that stay SEALED until discarded."""

    def __init__(self, spaces: Sequence[Space]) -> None:
        self.trouble = Trouble()
        self.spaces = {space.name: space for space in spaces}
        self.uploads: dict[str, Upload] = {}
        self.paths: dict[tuple[str, str], str] = {}
        self.slow: dict[str, int] = {}
        self.adoptable: dict[tuple[str, str], Content | LibrarianError] = {}
        self.adopted: dict[str, tuple[str, Content]] = {}
        self.facts: dict[str, str] = {}
        self.mtimes: dict[str, int] = {}
        self.rotten: dict[str, list[Any]] = {}
        self.findings: list[pb.ScanFinding] = []
        self.granted: list[pb.UploadGrant] = []

    def bring(self, uid: str, content: Content) -> None:
        """What a client does between Begin and Commit."""
        upload = self.uploads[uid]
        assert upload.state == pb.UPLOAD_STATE_OPEN
        upload.staged = content

    def strays(self) -> list[str]:
        """Uploads the store still keeps books of, other than those confirmed."""
        over = {pb.UPLOAD_STATE_CONFIRMED, pb.UPLOAD_STATE_ABORTED}
        return [uid for uid, upload in self.uploads.items() if upload.state not in over]

    async def ListStores(self, request: pb.ListStoresRequest, context: Any) -> pb.ListStoresResponse:
        await self.trouble.enter("ListStores")
        return pb.ListStoresResponse(
            stores=[
                pb.Store(
                    name=space.name,
                    priority=space.priority,
                    enabled=space.enabled,
                    ingestible=space.ingestible,
                    store_class=pb.STORE_CLASS_ONLINE,
                    failure_domain=f"box-{space.name}",
                    usage=pb.StoreUsage(grantable_bytes=space.capacity - space.reserved),
                )
                for space in self.spaces.values()
            ]
        )

    async def BeginUploads(self, request: pb.BeginUploadsRequest, context: Any) -> pb.BeginUploadsResponse:
        await self.trouble.enter("BeginUploads")
        space = self._space(request.store)
        response = pb.BeginUploadsResponse(
            grant=pb.UploadGrant(store=request.store, staging_path=f"/staging/{request.store}", ticket="t")
        )
        for spec in request.uploads:
            error = self._begin(space, spec)
            if error is not None:
                response.errors.add(upload_id=spec.upload_id, error=item_error(error))
        self.granted.append(response.grant)
        self.trouble.leave("BeginUploads")
        return response

    async def CommitUploads(self, request: pb.CommitUploadsRequest, context: Any) -> pb.CommitUploadsResponse:
        await self.trouble.enter("CommitUploads")
        self._space(request.store)
        response = pb.CommitUploadsResponse(statuses=[self._commit(item) for item in request.items])
        self.trouble.leave("CommitUploads")
        return response

    async def ReadManifest(
        self, request: pb.ReadManifestRequest, context: Any
    ) -> AsyncIterator[pb.ReadManifestResponse]:
        await self.trouble.enter("ReadManifest")
        content = self._content(request.uid)
        for member in content.members:
            yield pb.ReadManifestResponse(members=[member_to_proto(member)])

    async def ConfirmUploads(
        self, request: pb.ConfirmUploadsRequest, context: Any
    ) -> pb.ConfirmUploadsResponse:
        await self.trouble.enter("ConfirmUploads")
        self._space(request.store)
        response = pb.ConfirmUploadsResponse()
        for uid in request.upload_ids:
            upload = self.uploads.get(uid)
            if upload is None:
                response.errors.add(upload_id=uid, error=item_error(UploadNotFound(f"no upload {uid}")))
            elif upload.state == pb.UPLOAD_STATE_COMMITTED:
                upload.state = pb.UPLOAD_STATE_CONFIRMED
                self._give_back(upload)
        self.trouble.leave("ConfirmUploads")
        return response

    async def AbortUploads(self, request: pb.AbortUploadsRequest, context: Any) -> pb.AbortUploadsResponse:
        await self.trouble.enter("AbortUploads")
        self._space(request.store)
        response = pb.AbortUploadsResponse()
        for uid in request.upload_ids:
            error = self._abort(self.uploads.get(uid), idle_only=request.idle_seconds > 0)
            if error is not None:
                response.errors.add(upload_id=uid, error=item_error(error))
        self.trouble.leave("AbortUploads")
        return response

    async def FindTrees(
        self, request: pb.FindTreesRequest, context: Any
    ) -> AsyncIterator[pb.FindTreesResponse]:
        await self.trouble.enter("FindTrees")
        self._space(request.store)
        for store, name in sorted(self.adoptable):
            if store == request.store and name.startswith(request.path):
                yield pb.FindTreesResponse(names=[name], size_bytes=[10])

    async def AdoptTrees(
        self, request: pb.AdoptTreesRequest, context: Any
    ) -> AsyncIterator[pb.AdoptTreesResponse]:
        await self.trouble.enter("AdoptTrees")
        self._space(request.store)
        hashed = 0
        for index, name in enumerate(request.names):
            content = self.adoptable.get((request.store, name), PathNotFound(f"nothing lies at {name}"))
            if isinstance(content, LibrarianError):
                yield pb.AdoptTreesResponse(
                    trees=[pb.AdoptedTree(name=name, error=item_error(content))], hashed_bytes=hashed
                )
                continue
            if index < len(request.digests) and request.digests[index] != checksum_to_proto(content.digest):
                wrong = ChecksumMismatch(f"something else lies at {name}")
                yield pb.AdoptTreesResponse(
                    trees=[pb.AdoptedTree(name=name, error=item_error(wrong))], hashed_bytes=hashed
                )
                continue
            already = name in self.adopted
            if not already:
                hashed += content.size_bytes
                uid = request.uids[index] if request.uids else _uid_of(name)
                self.adopted[name] = (uid, content)
                if request.each_facts_json:
                    self.facts[uid] = request.each_facts_json[index]
            yield pb.AdoptTreesResponse(
                trees=[
                    pb.AdoptedTree(
                        name=name,
                        uid=self.adopted[name][0],
                        kind=DIRECTORY if content.members else FILE,
                        digest=checksum_to_proto(content.digest),
                        size_bytes=content.size_bytes,
                        member_count=content.member_count,
                        already=already,
                        mtime_ns=self.mtimes.get(name, 0),
                    )
                ],
                hashed_bytes=hashed,
            )
        self.trouble.leave("AdoptTrees")

    async def VerifyReplica(
        self, request: pb.VerifyReplicaRequest, context: Any
    ) -> AsyncIterator[pb.VerifyReplicaResponse]:
        await self.trouble.enter("VerifyReplica")
        self._space(request.store)
        yield pb.VerifyReplicaResponse(verified_bytes=1, total_bytes=2)
        outcomes = self.rotten.get(request.uid)
        state = outcomes.pop(0) if outcomes else common_pb2.REPLICA_STATE_AVAILABLE
        if isinstance(state, LibrarianError):
            raise state
        report = pb.ReplicaReport(uid=request.uid, store=request.store, state=state)
        report.time.FromSeconds(1_700_000_000)
        if state == common_pb2.REPLICA_STATE_CORRUPT:
            report.findings.add(path="b/c.dat", reason="CHANGED", location="/root/x/b/c.dat")
            report.finding_count = 2
        yield pb.VerifyReplicaResponse(report=report)

    async def BeginRead(self, request: pb.BeginReadRequest, context: Any) -> pb.BeginReadResponse:
        await self.trouble.enter("BeginRead")
        self._space(request.store)
        if request.uid not in self.paths.values():
            raise ReplicaNotFound(f"{request.uid} is not held here")
        return pb.BeginReadResponse()

    async def ListHeld(self, request: pb.ListHeldRequest, context: Any) -> pb.ListHeldResponse:
        await self.trouble.enter("ListHeld")
        self._space(request.store)
        held = sorted((name, uid) for (store, name), uid in self.paths.items() if store == request.store)
        if request.uids:
            held = [each for each in held if each[1] in request.uids]
            return pb.ListHeldResponse(held=[self._held(*each) for each in held])
        # Small pages, whatever is asked: so that turning them is tested.
        page = [each for each in held if each[0] > request.page_token][:2]
        more = bool(page) and page[-1] != held[-1]
        return pb.ListHeldResponse(
            held=[self._held(*each) for each in page], next_page_token=page[-1][0] if more else ""
        )

    def _held(self, name: str, uid: str) -> pb.HeldDataset:
        return pb.HeldDataset(uid=uid, name=name, unconfirmed=uid in self.uploads)

    async def ScanStore(
        self, request: pb.ScanStoreRequest, context: Any
    ) -> AsyncIterator[pb.ScanStoreResponse]:
        await self.trouble.enter("ScanStore")
        self._space(request.store)
        for number, finding in enumerate(self.findings, 1):
            yield pb.ScanStoreResponse(findings=[finding], scanned_count=number)

    def _space(self, name: str) -> Space:
        space = self.spaces.get(name)
        if space is None:
            raise StoreNotFound(f"no store {name}")
        if not space.enabled:
            raise StoreDisabled(f"store {name} is disabled")
        return space

    def _begin(self, space: Space, spec: pb.UploadSpec) -> LibrarianError | None:
        known = self.uploads.get(spec.upload_id)
        if known is not None:
            closed = known.state != pb.UPLOAD_STATE_OPEN
            return UploadClosed(f"upload {spec.upload_id} is closed") if closed else None
        if (other := self._attempt(space.name, spec.dataset_uid)) is not None:
            return UploadActive(f"{other} brings {spec.dataset_uid}", upload_id=other)
        if (space.name, spec.name) in self.adoptable or self._held_by_nobody(space.name, spec.name):
            holder = self.paths.get((space.name, spec.name), "")
            return PathTaken(f"something lies at {spec.name}", path=spec.name, uid=holder)
        if space.reserved + spec.size_bytes > space.capacity:
            return StoreFull(f"{space.name} has no room for {spec.size_bytes}", store=space.name)
        space.reserved += spec.size_bytes
        kept = pb.UploadSpec()
        kept.CopyFrom(spec)
        self.uploads[spec.upload_id] = Upload(kept, space.name)
        return None

    def _attempt(self, store: str, uid: str) -> str | None:
        """An upload whose fate is open that brings this dataset."""
        alive = {
            pb.UPLOAD_STATE_OPEN,
            pb.UPLOAD_STATE_SEALED,
            pb.UPLOAD_STATE_VERIFIED,
            pb.UPLOAD_STATE_COMMITTED,
        }
        for upload_id, upload in self.uploads.items():
            if uid and (upload.spec.dataset_uid, upload.store) == (uid, store) and upload.state in alive:
                return upload_id
        return None

    def _held_by_nobody(self, store: str, name: str) -> bool:
        return self.paths.get((store, name), "") not in {"", *self.uploads}

    def _commit(self, item: pb.CommitUploadItem) -> pb.CommitUploadStatus:
        upload = self.uploads.get(item.upload_id)
        if upload is None:
            error = UploadNotFound(f"no upload {item.upload_id}")
            return pb.CommitUploadStatus(upload_id=item.upload_id, error=item_error(error))
        upload.commit_count += 1
        upload.facts_json = item.facts_json
        passing: LibrarianError | None = None
        if upload.state not in _FINAL:
            passing = self._verify_and_move(item, upload)
        status = pb.CommitUploadStatus(
            upload_id=item.upload_id,
            state=upload.state,
            verified_bytes=self.slow.get(item.upload_id, 0),
        )
        if upload.state in {pb.UPLOAD_STATE_COMMITTED, pb.UPLOAD_STATE_CONFIRMED} and upload.staged:
            status.digest.CopyFrom(checksum_to_proto(upload.staged.digest))
            status.size_bytes = upload.staged.size_bytes
            status.member_count = upload.staged.member_count
        error_now = passing or upload.error
        if error_now is not None:
            status.error.CopyFrom(item_error(error_now))
        return status

    def _verify_and_move(self, item: pb.CommitUploadItem, upload: Upload) -> LibrarianError | None:
        """The passing trouble, if any; otherwise the upload is final (or slow) afterwards."""
        staged, name = upload.staged, upload.spec.name
        if item.upload_id in self.slow:
            upload.state = pb.UPLOAD_STATE_SEALED
            return None
        if staged is None:
            return self._failed(upload, NothingStaged(f"nothing was staged for {name}"))
        claimed = (item.digest.algorithm, item.digest.value, item.size_bytes, item.member_count)
        found = (staged.digest.algorithm, staged.digest.value, staged.size_bytes, staged.member_count)
        if claimed != found:
            return self._failed(upload, ChecksumMismatch(f"{name} is not what was claimed"))
        other = self.paths.get((upload.store, name))
        if other is not None and other != item.upload_id:
            if other in self.uploads or any(uid == other for uid, _ in self.adopted.values()):
                upload.state = pb.UPLOAD_STATE_VERIFIED
                return PathHeldByUpload(f"{name} is held by {other}", upload_id=other)
            return self._failed(upload, PathTaken(f"something lies at {name}", name=name))
        self.paths[upload.store, name] = item.upload_id
        upload.state = pb.UPLOAD_STATE_COMMITTED
        return None

    def _failed(self, upload: Upload, error: LibrarianError) -> None:
        upload.state = pb.UPLOAD_STATE_FAILED
        upload.error = error

    def _abort(self, upload: Upload | None, *, idle_only: bool) -> LibrarianError | None:
        if upload is None or upload.state == pb.UPLOAD_STATE_ABORTED:
            return None
        if upload.state == pb.UPLOAD_STATE_CONFIRMED:
            return UploadConfirmed("it is in the catalogue")
        if idle_only and upload.active:
            return UploadActive("bytes are coming")
        key = (upload.store, upload.spec.name)
        if self.paths.get(key) == upload.spec.upload_id:
            del self.paths[key]
        upload.state = pb.UPLOAD_STATE_ABORTED
        upload.staged = None
        self._give_back(upload)
        return None

    def _give_back(self, upload: Upload) -> None:
        self.spaces[upload.store].reserved -= upload.spec.size_bytes

    def _content(self, uid: str) -> Content:
        for upload in self.uploads.values():
            if _dataset_of(upload) == uid and upload.staged is not None:
                return upload.staged
        for adopted_uid, content in self.adopted.values():
            if adopted_uid == uid:
                return content
        raise UploadNotFound(f"no upload {uid}")


def _dataset_of(upload: Upload) -> str:
    return upload.spec.dataset_uid or upload.spec.upload_id


def _uid_of(name: str) -> str:
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
