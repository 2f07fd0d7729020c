"""Routes, transfers and batches as this package passes them on; fields in the order of the columns read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self

RELAY: Final = "relay"
WAY: Final = "link"
# Of a route that names none.
MAX_ACTIVE: Final = 2000


class DestinationKind(IntEnum):
    """As transfer.v1.DestinationKind."""

    PEER = 1
    STORE = 2


class BackfillState(IntEnum):
    """As transfer.v1.BackfillState."""

    NONE = 0
    RUNNING = 1
    DONE = 2


class Destination(NamedTuple):
    """A peer, or a store of this site."""

    kind: DestinationKind
    name: str

    @property
    def is_peer(self) -> bool:
        return self.kind is DestinationKind.PEER

    def __str__(self) -> str:
        return self.name if self.is_peer else f"store {self.name}"


@dataclass(frozen=True, slots=True)
class Route:
    """`tags_json`: a JSON object, or empty."""

    route_id: str
    destination: str
    destination_kind: int
    name_glob: str
    tags_json: str
    via: str
    priority: int
    max_active: int
    max_bytes_per_second: int
    landing: str
    through: str
    paused: bool
    create_time: datetime
    backfill_state: int
    backfill_token: str
    backfilled_count: int

    @property
    def to(self) -> Destination:
        return Destination(DestinationKind(self.destination_kind), self.destination)

    @property
    def tags(self) -> dict[str, str]:
        tags: dict[str, str] = json.loads(self.tags_json) if self.tags_json else {}
        return tags


@dataclass(frozen=True, slots=True)
class Transfer:
    """What may be seen of a transfer."""

    transfer_id: str
    route_id: str
    dataset_uid: str
    name: str
    kind: int
    size_bytes: int
    destination: str
    destination_kind: int
    via: str
    state: int
    priority: int
    batch_id: str | None
    upload_id: str
    moved_bytes: int
    bytes_per_second: int
    attempt_count: int
    plan_time: datetime
    state_time: datetime
    update_time: datetime
    not_before: datetime | None
    error_json: str

    @property
    def to(self) -> Destination:
        return Destination(DestinationKind(self.destination_kind), self.destination)


@dataclass(frozen=True, slots=True)
class LogEntry:
    time: datetime
    state: int
    event: str
    reason: str
    message: str


@dataclass(slots=True)
class Parcel:
    """One transfer of a batch in hand. `state`, `upload_id` and what follows `store` change as it goes.

    `landing`: index into the landings of the newest offer; -1 while none was given. `store`: of this site,
    where it is read.
    """

    transfer_id: str
    dataset_uid: str
    name: str
    kind: int
    size_bytes: int
    state: int
    upload_id: str
    moved_bytes: int
    attempt_count: int
    error_json: str
    store: str = field(default="")
    traceparent: str = field(default="")
    landing: int = field(default=-1)
    # By a worker that had the batch before.
    begun: bool = field(default=False)
    # Its grant was refused by the mover's other end, and asked for anew.
    was_stale: bool = field(default=False)
    # Bytes and rate as last written down.
    told: tuple[int, int] = field(default=(0, 0))

    @property
    def last_reason(self) -> str:
        """Of its last trouble."""
        return str(json.loads(self.error_json)[1]) if self.error_json else ""


@dataclass(slots=True)
class Batch:
    """A batch that this worker holds. `offer`: a serialised OfferRequest, None before it was made."""

    batch_id: str
    route_id: str
    destination: str
    destination_kind: int
    via: str
    offer: bytes | None
    handle: str
    lease_fence: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(*[row[name] for name in BATCH_COLUMNS])

    @property
    def to(self) -> Destination:
        return Destination(DestinationKind(self.destination_kind), self.destination)


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer as the gateway told of it."""

    name: str
    peer_id: str
    address: str
    insecure: bool
    paused: bool
    removed: bool
    keys_json: str


# Of a parcel, known to this process alone.
_OWN: Final = frozenset({"store", "traceparent", "landing", "begun", "was_stale", "told"})
ROUTE_COLUMNS = tuple(each.name for each in fields(Route))
TRANSFER_COLUMNS = tuple(each.name for each in fields(Transfer))
PARCEL_COLUMNS = tuple(each.name for each in fields(Parcel) if each.name not in _OWN)
BATCH_COLUMNS = tuple(each.name for each in fields(Batch))
PEER_COLUMNS = tuple(each.name for each in fields(Peer))
