"""Messages of the API to values and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import IngestNotFound, LibrarianError
from librarian.messages import error_of, item_error, timestamp
from transfer_svc.lifecycle import IngestState
from transfer_svc.outcomes import Bytes, LiveDataset
from transfer_svc.planning import StoreClass, StoreView
from transfer_svc.rules import Spec
from transfer_svc.values import Ingest, Job


def spec_of(item: pb.IngestSpec) -> Spec:
    return Spec(
        name=item.name,
        kind=item.kind,
        size_bytes=item.size_bytes,
        inode_count=item.inode_count,
        algorithm=item.algorithm,
        tags=dict(item.tags),
        create_time_us=_microseconds(item.create_time) if item.HasField("create_time") else None,
        ingest_id=item.ingest_id,
    )


def _microseconds(time: Timestamp) -> int:
    return time.seconds * 1_000_000 + time.nanos // 1000


# Ingests of a batch share their times.
_timestamp = lru_cache(maxsize=256)(timestamp)


def ingest_to_proto(ingest: Ingest) -> pb.Ingest:
    digest = None
    if ingest.state == IngestState.PUBLISHED:
        digest = common_pb2.Checksum(algorithm=ingest.algorithm, value=ingest.digest or b"")
    return pb.Ingest(
        ingest_id=ingest.ingest_id,
        name=ingest.name,
        kind=common_pb2.DatasetKind.ValueType(ingest.kind),
        state=pb.IngestState.ValueType(ingest.state),
        store=ingest.store,
        uploader=ingest.uploader,
        size_bytes=ingest.size_bytes,
        begin_time=_timestamp(ingest.begin_time),
        update_time=_timestamp(ingest.update_time),
        expire_time=_timestamp(ingest.expire_time),
        dataset_uid=ingest.dataset_uid,
        digest=digest,
        error=error_from_json(ingest.error_json),
        verified_bytes=ingest.verified_bytes,
    )


def ingest_verdicts(ids: Iterable[str], found: dict[str, Ingest | LibrarianError]) -> list[pb.IngestVerdict]:
    """One for each id, in order; `found` lacks those that are not the caller's to know."""
    return [_ingest_verdict(uid, found.get(uid)) for uid in ids]


def _ingest_verdict(uid: str, result: Ingest | LibrarianError | None) -> pb.IngestVerdict:
    if isinstance(result, Ingest):
        return pb.IngestVerdict(ingest=ingest_to_proto(result))
    return pb.IngestVerdict(error=item_error(result or no_such_ingest(uid)))


def no_such_ingest(uid: str) -> IngestNotFound:
    return IngestNotFound(f"there is no ingest {uid[:80]} of yours", ingest_id=uid[:80])


def error_to_json(error: LibrarianError) -> str:
    """As it is kept with an ingest, to be told again word for word."""
    told = item_error(error)
    # As ASCII: PostgreSQL keeps no NUL, not even in text a file system made up, but its escape.
    return json.dumps([told.code, told.reason, told.message, dict(told.metadata)])


def error_from_json(text: str) -> common_pb2.ItemError | None:
    if not text:
        return None
    code, reason, message, metadata = json.loads(text)
    return common_pb2.ItemError(code=code, reason=reason, message=message, metadata=metadata)


def store_view(store: store_pb2.Store) -> StoreView:
    return StoreView(
        name=store.name,
        priority=store.priority,
        enabled=store.enabled,
        ingestible=store.ingestible,
        trouble=store.trouble,
        store_class=_class_of(store.store_class),
        grantable_bytes=store.usage.grantable_bytes,
        max_file_bytes=store.capabilities.max_file_bytes,
        failure_domain=store.failure_domain,
    )


def _class_of(number: int) -> StoreClass:
    try:
        return StoreClass(number)
    except ValueError:
        # Of a newer store service: whatever it is, new data goes there only when asked.
        return StoreClass.DISK


def upload_spec(ingest: Ingest) -> store_pb2.UploadSpec:
    return store_pb2.UploadSpec(
        upload_id=ingest.ingest_id,
        name=ingest.name,
        kind=common_pb2.DatasetKind.ValueType(ingest.kind),
        size_bytes=ingest.size_bytes,
        inode_count=ingest.inode_count,
        algorithm=ingest.algorithm,
        dataset_uid=ingest.target_uid,
    )


def existing_dataset(dataset: catalog_pb2.Dataset) -> pb.ExistingDataset:
    return pb.ExistingDataset(
        uid=dataset.uid, kind=dataset.kind, digest=dataset.digest, size_bytes=dataset.size_bytes
    )


def live_dataset(dataset: catalog_pb2.Dataset) -> LiveDataset:
    return LiveDataset(
        dataset.uid,
        dataset.kind,
        dataset.digest.algorithm,
        dataset.digest.value,
        frozenset(
            replica.store
            for replica in dataset.replicas
            if replica.state == common_pb2.REPLICA_STATE_AVAILABLE
        ),
    )


def claim_of(job: Job) -> Bytes:
    """What the client said the bytes are; only of jobs past OPEN."""
    return Bytes(job.algorithm, job.digest or b"", job.claimed_bytes or 0, job.member_count or 0)


def bytes_found(status: store_pb2.CommitUploadStatus) -> Bytes | None:
    """What the store read, where it says so."""
    if not status.HasField("digest"):
        return None
    return Bytes(status.digest.algorithm, status.digest.value, status.size_bytes, status.member_count)


def error_in(message: common_pb2.ItemError) -> LibrarianError | None:
    """The error of a field that may be unset."""
    return error_of(message) if message.code or message.reason else None
