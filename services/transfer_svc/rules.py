"""What a client may ask of an ingest, and whose it is. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from librarian.checksums import CHECKSUM_BYTES, DEFAULT_ALGORITHM, check_algorithm
from librarian.errors import BatchTooLarge, InvalidInput, InvalidSize
from librarian.manifests import DatasetKind
from librarian.names import check_name

MAX_BATCH: Final = 500
MAX_WAIT_MS: Final = 25_000
MAX_ID_CHARACTERS: Final = 36
MAX_TAGS: Final = 64
MAX_TAG_BYTES: Final = 4096
# What google.protobuf.Timestamp can say: the years 1 to 9999, in microseconds.
_EARLIEST_US: Final = -62_135_596_800_000_000
_LATEST_US: Final = 253_402_300_799_999_999
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Spec:
    """One dataset a client wants to bring. `create_time_us` None: now. `ingest_id`: go on with that one."""

    name: str
    kind: int
    size_bytes: int
    inode_count: int
    algorithm: str
    tags: Mapping[str, str]
    create_time_us: int | None
    ingest_id: str


def check_batch(count: int) -> None:
    """Raises BatchTooLarge."""
    if count > MAX_BATCH:
        raise BatchTooLarge(
            f"{count} items in one request; {MAX_BATCH} are allowed",
            remedy=f"send them in batches of {MAX_BATCH}",
            limit=MAX_BATCH,
        )


def check_spec(spec: Spec) -> None:
    """Raises InvalidName, InvalidSize, AlgorithmNotAllowed or InvalidInput, naming the item."""
    check_name(spec.name)
    if spec.kind not in {DatasetKind.FILE, DatasetKind.DIRECTORY}:
        raise InvalidInput(
            f"{spec.name}: neither a file nor a directory", remedy="set `kind`", name=spec.name, field="kind"
        )
    if spec.size_bytes < 0 or spec.inode_count < 0:
        field = "size_bytes" if spec.size_bytes < 0 else "inode_count"
        raise InvalidSize(
            f"{spec.name}: a negative {field} was declared",
            remedy="declare the sum of the files' sizes and how many there are",
            name=spec.name,
            field=field,
        )
    check_algorithm(algorithm_of(spec.algorithm))
    if spec.create_time_us is not None:
        check_create_time(spec.create_time_us, spec.name)
    if spec.tags:
        check_tags(spec.tags)


def check_create_time(create_time_us: int, name: str) -> None:
    """Raises InvalidInput."""
    if not _EARLIEST_US <= create_time_us <= _LATEST_US:
        raise InvalidInput(f"{name}: create_time lies outside the years 1 to 9999", name=name)


def algorithm_of(asked: str) -> str:
    return asked or DEFAULT_ALGORITHM


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises InvalidInput: too many, too long, nameless, or with a NUL (PostgreSQL keeps none)."""
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"{len(tags)} tags; {MAX_TAGS} are allowed", limit=MAX_TAGS)
    for key, value in tags.items():
        if not key or "\0" in key or "\0" in value:
            raise InvalidInput("a tag has an empty name or a NUL character", tag=key.replace("\0", "\\0"))
        if len(key.encode()) + len(value.encode()) > MAX_TAG_BYTES:
            raise InvalidInput(f"tag {key[:80]} is longer than {MAX_TAG_BYTES} bytes", limit=MAX_TAG_BYTES)


def tags_json(tags: Mapping[str, str]) -> str:
    """As the catalogue takes them: a JSON object with sorted keys, empty for none."""
    return json.dumps(dict(sorted(tags.items())), ensure_ascii=False, separators=(",", ":")) if tags else ""


def check_traceparent(text: str) -> str:
    """Itself, empty or W3C version 00. Raises InvalidInput."""
    if text and _TRACEPARENT.fullmatch(text) is None:
        raise InvalidInput(
            "traceparent is not of the W3C form 00-<32 hex>-<16 hex>-<2 hex>", field="traceparent"
        )
    return text


def traceparent_of(uid: str) -> str:
    """A new trace for a dataset. Its trace id is the uid's own digits: whoever has one finds the other."""
    digits = uid.replace("-", "")
    return f"00-{digits}-{digits[16:]}-01"


def check_claim(algorithm: str, digest: bytes, size_bytes: int, member_count: int, *, ingest_id: str) -> None:
    """What a commit says the bytes must be. Raises AlgorithmNotAllowed, InvalidInput, InvalidSize."""
    check_algorithm(algorithm)
    if len(digest) != CHECKSUM_BYTES:
        raise InvalidInput(
            f"{ingest_id}: the digest has {len(digest)} bytes; {CHECKSUM_BYTES} belong to it",
            remedy="claim the digest of all bytes brought",
            ingest_id=ingest_id,
            field="digest",
        )
    if size_bytes < 0 or member_count < 0:
        raise InvalidSize(f"{ingest_id}: a negative size or count was claimed", ingest_id=ingest_id)


def can_be_id(text: str) -> bool:
    """Whether it may be looked up at all: PostgreSQL takes no NUL, and no uid is longer."""
    return "\0" not in text and len(text) <= MAX_ID_CHARACTERS


def wait_seconds(timeout_ms: int) -> float:
    """How long a wait may last: never negative, at most 25 s."""
    return min(max(timeout_ms, 0), MAX_WAIT_MS) / 1000
