"""What a mover is. Limits, retries, logs and the talk with the receiver wrap it from outside.

A mover brings the bytes of a batch to the landings the receiver gave and says how far each item is. It
decides nothing about transfers: arrival is believed only from the receiver's own re-read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from librarian.api.store.v1.store_pb2 import UploadGrant
from librarian.errors import LibrarianError
from librarian.manifests import DatasetKind


@dataclass(frozen=True, slots=True)
class Item:
    """One dataset to be moved. `store`: of this site, where it is read. `upload_id`: its place at the
    landing, as UploadGrant says. `begun`: another run may have brought some of it.
    """

    transfer_id: str
    uid: str
    upload_id: str
    name: str
    kind: DatasetKind
    algorithm: str
    size_bytes: int
    member_count: int
    store: str
    landing: UploadGrant
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What one task of a mover takes. `peer`: the receiver, "" for this site itself. `landing_root`: what
    was agreed with the peer, below which the mover's own way must land; "" where nothing has to be.
    `max_bytes_per_second`: 0 for no limit; all batches of one `route` share it.
    """

    batch_id: str
    peer: str
    items: Sequence[Item]
    landing_root: str = ""
    max_bytes_per_second: int = 0
    route: str = ""


class ItemState(Enum):
    MOVING = "moving"
    # All bytes are at the landing, by the mover's word.
    MOVED = "moved"
    # See `error`: its class says whether it is permanent, passing or not known.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """`moved_bytes` counts what is at the landing, also from an earlier start."""

    upload_id: str
    state: ItemState
    moved_bytes: int = 0
    error: LibrarianError | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the engine needs to know of a mover.

    `durable`: its task goes on when this process dies, and `handle` finds it again; of the others `start`
    begins again and takes up what has arrived. `agreed_landing`: to a peer, the landing must lie below what
    was agreed with it. `max_items`: of one batch. `parallel`: batches to one destination at once.
    """

    name: str
    durable: bool
    agreed_landing: bool
    max_items: int
    parallel: int


class Mover(Protocol):
    """Items fail one by one; what a method raises is about the batch as a whole (LibrarianError).

    Errors by class, the same for every mover: SourceVanished, SourceChanged and ReadFailed (this side's
    bytes), StoreFull and UploadTooLarge (no room there, or not for such a file), LandingInvalid (a landing
    outside of what was agreed, or that is not there), TicketInvalid (offer again for a fresh one),
    UploadClosed and UploadNotFound (the receiver took it or gave it up: ask what it has), StoreDisabled and
    StoreNotFound (this side's store), Unavailable (may pass).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def prepare(self, batch: Batch) -> str:
        """The handle by which the task will be known. It is written down before `start` is called."""
        ...

    async def start(self, batch: Batch, handle: str) -> None:
        """Begins, or goes on. Once more while it runs is nothing; after it has ended it goes over all
        items again, and takes up what has arrived.
        """
        ...

    async def poll(self, handle: str) -> Sequence[ItemProgress]:
        """How each item stands. Raises NotFound where no task of that handle is known (any more)."""
        ...

    async def wait(self, handle: str, seconds: float) -> None:
        """Until an item has come to its end since the last poll, or so long. Bytes alone wake nobody."""
        ...

    async def cancel(self, handle: str) -> None:
        """Stops, leaves nothing running, and forgets the handle: also how a task that has ended is let go.
        What has arrived stays for the receiver to clear. An unknown handle is nothing.
        """
        ...

    async def close(self) -> None:
        """Stops everything this process runs. Durable tasks go on."""
        ...
