"""What goes into one batch, and what the site's verdicts mean. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.checksums import Checksum
from librarian.errors import IngestClosed, LibrarianError, NameTaken
from librarian.ingest.items import PutItem, PutOutcome, PutResult, Source
from librarian.ingest.local import Staged
from librarian.manifests import DatasetKind
from librarian.messages import checksum_from_proto, error_of, timestamp

MAX_ITEMS = 500
# What is reserved ahead of being brought, and the most that one break can make wait.
MAX_BYTES = 8 << 30
MAX_INODES = 100_000

FINAL_STATES = frozenset(
    {
        transfer_pb2.INGEST_STATE_PUBLISHED,
        transfer_pb2.INGEST_STATE_ABORTED,
        transfer_pb2.INGEST_STATE_EXPIRED,
        transfer_pb2.INGEST_STATE_FAILED,
    }
)
UNDER_WAY_STATES = frozenset({transfer_pb2.INGEST_STATE_COMMITTING, transfer_pb2.INGEST_STATE_STORED})


def batches(
    found: Iterable[Source | PutResult], *, max_items: int = MAX_ITEMS
) -> Iterator[list[Source | PutResult]]:
    """In order, none larger than one BeginIngests takes; a single large source is a batch of its own."""
    batch: list[Source | PutResult] = []
    size = inodes = 0
    for one in found:
        more_bytes = one.size_bytes
        more_inodes = one.inode_count if isinstance(one, Source) else 0
        full = len(batch) >= max_items or size + more_bytes > MAX_BYTES or inodes + more_inodes > MAX_INODES
        if batch and full:
            yield batch
            batch, size, inodes = [], 0, 0
        batch.append(one)
        size += more_bytes
        inodes += more_inodes
    if batch:
        yield batch


def ingest_spec(source: Source, algorithm: str, ingest_id: str) -> transfer_pb2.IngestSpec:
    spec = transfer_pb2.IngestSpec(
        name=source.item.name,
        kind=common_pb2.DatasetKind.ValueType(source.kind),
        size_bytes=source.size_bytes,
        inode_count=source.inode_count,
        algorithm=algorithm,
        tags=source.item.tags,
        ingest_id=ingest_id,
    )
    if source.item.create_time is not None:
        spec.create_time.CopyFrom(timestamp(source.item.create_time))
    return spec


def failed(item: PutItem, error: LibrarianError) -> PutResult:
    return PutResult(item, PutOutcome.FAILED, error=error)


def result_of(source: Source, staged: Staged, ingest: transfer_pb2.Ingest) -> PutResult:
    """Of an ingest in a final state."""
    if ingest.state != transfer_pb2.INGEST_STATE_PUBLISHED:
        return failed(source.item, _why_not(ingest))
    ours = ingest.dataset_uid == ingest.ingest_id
    return PutResult(
        source.item,
        PutOutcome.PUBLISHED if ours else PutOutcome.ALREADY_THERE,
        kind=source.kind,
        uid=ingest.dataset_uid,
        digest=staged.digest,
        size_bytes=staged.size_bytes,
        member_count=staged.member_count,
        store=ingest.store,
    )


def may_be_same(source: Source, existing: transfer_pb2.ExistingDataset) -> bool:
    """Whether it is worth reading the source to compare."""
    return int(source.kind) == existing.kind and source.size_bytes == existing.size_bytes


def existing_result(
    source: Source, existing: transfer_pb2.ExistingDataset, digest: Checksum | None
) -> PutResult:
    """`digest`: the source's, None where it was not worth reading."""
    there = checksum_from_proto(existing.digest)
    if digest == there:
        return PutResult(
            source.item,
            PutOutcome.ALREADY_THERE,
            kind=source.kind,
            uid=existing.uid,
            digest=digest,
            size_bytes=source.size_bytes,
            member_count=source.member_count,
        )
    name = source.item.name
    if int(source.kind) != existing.kind:
        kinds = {DatasetKind.FILE: "a file", DatasetKind.DIRECTORY: "a directory"}
        difference = f"it is {kinds[DatasetKind(existing.kind)]}, and this is {kinds[source.kind]}"
    elif digest is None:
        difference = f"it has {existing.size_bytes} bytes, and this has {source.size_bytes}"
    else:
        difference = f"its digest is {there}, and this has {digest}"
    error = NameTaken(
        f"{name} is there already with other content: {difference}",
        name=name,
        uid=existing.uid,
        existing_digest=there,
    )
    return failed(source.item, error)


def claims(staged: Sequence[tuple[str, Staged]]) -> list[transfer_pb2.CommitIngestItem]:
    """By ingest id."""
    return [
        transfer_pb2.CommitIngestItem(
            ingest_id=ingest_id,
            digest=common_pb2.Checksum(algorithm=one.digest.algorithm, value=one.digest.value),
            size_bytes=one.size_bytes,
            member_count=one.member_count,
        )
        for ingest_id, one in staged
    ]


def _why_not(ingest: transfer_pb2.Ingest) -> LibrarianError:
    if ingest.HasField("error"):
        return error_of(ingest.error)
    state = transfer_pb2.IngestState.Name(ingest.state).removeprefix("INGEST_STATE_").lower()
    return IngestClosed(f"the ingest of {ingest.name} was {state}", name=ingest.name, state=state)
