"""What the store keeps of stores, uploads and held datasets, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from librarian.checksums import Checksum
from librarian.manifests import DatasetKind
from store_svc.lifecycle import UploadState
from store_svc.room import Amount, Limits

WRITE_BITS: Final = 0o222


class StoreClass(IntEnum):
    """As store.v1.StoreClass."""

    ONLINE = 1
    ARCHIVE = 2
    DISK = 3
    SCRATCH = 4


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a file system was found able to do. `max_file_bytes` 0: no limit found."""

    rename_noreplace: bool = True
    hard_links: bool = True
    reflink: bool = True
    chown: bool = True
    leases: bool = True
    case_sensitive: bool = True
    symlinks: bool = True
    max_file_bytes: int = 0
    file_system: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """One store as configured, and its books. Modes are permission bits."""

    name: str
    store_uid: str
    root: str
    store_class: StoreClass
    failure_domain: str
    enabled: bool
    ingestible: bool
    priority: int
    fill_fraction: float
    max_bytes: int
    max_inodes: int
    file_mode: int
    directory_mode: int
    staging_mode: int
    owner: str
    read_only: bool
    client_root: str
    capabilities: Capabilities
    rsync_root: str = ""
    held_count: int = 0
    held_bytes: int = 0
    held_inodes: int = 0

    @property
    def limits(self) -> Limits:
        return Limits(self.fill_fraction, self.max_bytes, self.max_inodes)

    @property
    def held(self) -> Amount:
        return Amount(self.held_bytes, self.held_inodes)

    @property
    def seen_root(self) -> str:
        """The root as client hosts see it."""
        return self.client_root or self.root

    @property
    def final_file_mode(self) -> int:
        return self.file_mode & ~WRITE_BITS if self.read_only else self.file_mode


@dataclass(frozen=True, slots=True)
class UploadSpec:
    """What is asked for at Begin. `dataset_uid` empty: the upload's own id."""

    upload_id: str
    name: str
    kind: DatasetKind
    size_bytes: int
    inode_count: int
    algorithm: str
    dataset_uid: str = ""

    @property
    def uid(self) -> str:
        """What the dataset will be known by."""
        return self.dataset_uid or self.upload_id


@dataclass(frozen=True, slots=True)
class Claims:
    """What the client says its bytes are, and what the sidecar shall tell besides (a JSON object)."""

    digest: Checksum
    size_bytes: int
    member_count: int
    facts_json: str


@dataclass(frozen=True, slots=True)
class Upload:
    """One row of uploads. `digest`, `size_bytes`, `member_count`, `inode`, `mtime_ns` from VERIFIED on.
    `dataset_uid` empty: the upload's own id.
    """

    upload_id: str
    store: str
    area: str
    name: str
    kind: DatasetKind
    algorithm: str
    reserved_bytes: int
    reserved_inodes: int
    state: UploadState
    subject: str
    begin_time: datetime
    claims: Claims | None = None
    digest: Checksum | None = None
    size_bytes: int = 0
    member_count: int = 0
    inode: int = 0
    mtime_ns: int = 0
    error: StoredError | None = None
    dataset_uid: str = ""

    @property
    def uid(self) -> str:
        """What the dataset is, or will be, known by."""
        return self.dataset_uid or self.upload_id


@dataclass(frozen=True, slots=True)
class StoredError:
    """Why an upload failed, as common.v1.ItemError has it."""

    code: int
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a dataset looks without reading it: `layout` over paths, kinds, sizes and mtimes, `inodes` over
    inode numbers; `mtime_ns` is the latest of its files.
    """

    layout: bytes
    inodes: bytes
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read of one upload and agreed with its claims. `inode_count`: all it takes on the store."""

    upload_id: str
    digest: Checksum
    size_bytes: int
    member_count: int
    inode_count: int
    inode: int
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Holding:
    """A dataset this store holds. `upload_id` empty: named as the dataset, or it was adopted."""

    uid: str
    store: str
    name: str
    kind: DatasetKind
    digest: Checksum
    size_bytes: int
    member_count: int
    inode_count: int
    fingerprint: Fingerprint
    verify_time: datetime
    upload_id: str = ""

    @property
    def brought_by(self) -> str:
        """The upload whose fate it shares until that is confirmed."""
        return self.upload_id or self.uid
