"""Ingests as this service's code passes them on. The order of fields is that of the columns read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from transfer_svc.lifecycle import IngestState


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a client may see of an ingest."""

    ingest_id: str
    name: str
    kind: int
    state: int
    store: str
    staging_group: str
    uploader: str
    size_bytes: int
    inode_count: int
    algorithm: str
    begin_time: datetime
    update_time: datetime
    expire_time: datetime
    digest: bytes | None
    claimed_bytes: int | None
    member_count: int | None
    verified_bytes: int
    dataset_uid: str
    error_json: str
    target_uid: str


@dataclass(slots=True)
class Job:
    """What a worker needs of an ingest it has claimed. `state`, `origin` and `upload_void` follow what it
    writes.
    """

    ingest_id: str
    name: str
    kind: int
    state: int
    store: str
    uploader: str
    algorithm: str
    tags_json: str
    create_time_us: int
    traceparent: str
    begin_time: datetime
    digest: bytes | None
    claimed_bytes: int | None
    member_count: int | None
    origin: bytes | None
    dataset_uid: str
    error_json: str
    verified_bytes: int
    lease_fence: int
    attempt_count: int
    target_uid: str
    origin_site: str
    upload_void: bool

    @property
    def uid(self) -> str:
        """Of the dataset to be."""
        return self.target_uid or self.ingest_id

    @property
    def is_foreign(self) -> bool:
        """Brought by a peer, or from another store of this site: a delivery, no client's ingest."""
        return bool(self.target_uid)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(*[row[name] for name in JOB_COLUMNS])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker writes about an ingest it holds. `keep`: go on holding it."""

    ingest_id: str
    fence: int
    state: IngestState
    attempt_count: int
    not_before: datetime
    error_json: str = ""
    dataset_uid: str = ""
    settled: bool = False
    keep: bool = False
    upload_void: bool = False


INGEST_COLUMNS = tuple(field.name for field in fields(Ingest))
JOB_COLUMNS = tuple(field.name for field in fields(Job))
