"""Jobs, disks, shipments and cargo as passed on here; fields in the order of the columns read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Self

from sqlalchemy import RowMapping


@dataclass(frozen=True, slots=True)
class DiskJob:
    """`request`: as asked, serialised; of the type its kind tells. `lease_fence`: 0 before it is claimed."""

    job_id: str
    kind: int
    state: int
    path: str
    disk_id: str
    shipment_id: str
    request: bytes
    who: str
    step: str
    done_bytes: int
    total_bytes: int
    done_count: int
    total_count: int
    bytes_per_second: int
    note: str
    error_json: str
    results: str
    create_time: datetime
    update_time: datetime
    lease_fence: int

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        return cls(*[row[name] for name in JOB_COLUMNS])


@dataclass(frozen=True, slots=True)
class Disk:
    """`medium`, `statement`: serialised."""

    disk_id: str
    label: str
    serial: str
    owner_site: str
    capacity_bytes: int
    file_system: str
    medium: bytes | None
    failure_domain: str
    fill_fraction: float
    statement: bytes
    create_time: datetime
    last_seen_time: datetime | None
    last_seen_site: str
    last_seen_path: str
    carrier: str
    health: str
    kept_as_store: str

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        return cls(*[row[name] for name in DISK_COLUMNS])


@dataclass(frozen=True, slots=True)
class Consignment:
    """One disk's part of a shipment. `statement`: serialised; None before it is sealed."""

    shipment_id: str
    disk_id: str
    position: int
    state: int
    dataset_count: int
    file_count: int
    size_bytes: int
    extra_count: int
    statement: bytes | None
    carrier: str
    announced: bool
    state_time: datetime
    seal_time: datetime | None
    depart_time: datetime | None
    expected_time: datetime | None
    arrive_time: datetime | None
    reconcile_time: datetime | None
    error_json: str

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        return cls(*[row[name] for name in CONSIGNMENT_COLUMNS])


@dataclass(frozen=True, slots=True)
class Cargo:
    """A dataset on a disk. `damages`: a serialised CargoNews, None while nothing is."""

    shipment_id: str
    disk_id: str
    dataset_uid: str
    name: str
    kind: int
    size_bytes: int
    member_count: int
    state: int
    packed_as: int
    transfer_id: str
    damages: bytes | None
    damage_count: int
    error_json: str
    update_time: datetime

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        return cls(*[row[name] for name in CARGO_COLUMNS])


JOB_COLUMNS = tuple(each.name for each in fields(DiskJob))
DISK_COLUMNS = tuple(each.name for each in fields(Disk))
CONSIGNMENT_COLUMNS = tuple(each.name for each in fields(Consignment))
CARGO_COLUMNS = tuple(each.name for each in fields(Cargo))
