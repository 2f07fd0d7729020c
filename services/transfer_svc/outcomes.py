"""What an answer of the store or the catalogue means for an ingest. Pure.

Told apart by the class of the error, never by its text: a *permanent* one is about the bytes or the name
and ends the ingest; any other is about the moment, keeps the ingest and is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from librarian.errors import (
    AlgorithmNotAllowed,
    ChecksumMismatch,
    Conflict,
    DataLoss,
    Exhausted,
    InternalError,
    InvalidInput,
    KindMismatch,
    LibrarianError,
    LinkOutside,
    NameTaken,
    NotFound,
    NothingStaged,
    PathHeldByUpload,
    PathTaken,
    SourceChanged,
    SpecialFile,
    StagedFileChanged,
    StoreDisabled,
    StoreIdentity,
    StoreNotFound,
    Unavailable,
    Unreadable,
    UploadClosed,
    UploadNotFound,
    UploadTooLarge,
)
from transfer_svc.lifecycle import IngestEvent
from transfer_svc.replicas import ReplicaState

# Everything about the request, the name or the bytes themselves. Silence, refusals of the moment, a store
# that is off, a full disk, a caller not known: all of these can pass.
PERMANENT: Final[tuple[type[LibrarianError], ...]] = (
    InvalidInput,
    AlgorithmNotAllowed,
    Conflict,
    DataLoss,
    UploadNotFound,
    UploadClosed,
    UploadTooLarge,
    NothingStaged,
    StagedFileChanged,
    SourceChanged,
    SpecialFile,
    LinkOutside,
    Unreadable,
    KindMismatch,
)


def is_permanent(error: LibrarianError) -> bool:
    """Whether trying again could never help. A path held by another upload is a conflict that passes."""
    return isinstance(error, PERMANENT) and not isinstance(error, PathHeldByUpload)


def another_store_may(error: LibrarianError) -> bool:
    """Whether a store's refusal of a new upload is about that store: the next one may take it."""
    return isinstance(error, (Exhausted, StoreDisabled, StoreIdentity, StoreNotFound))


class UploadState(IntEnum):
    """As store.v1.UploadState."""

    UNSPECIFIED = 0
    OPEN = 1
    SEALED = 2
    VERIFIED = 3
    COMMITTED = 4
    CONFIRMED = 5
    FAILED = 6
    ABORTED = 7
    EXPIRED = 8


class PublishOutcome(IntEnum):
    """As catalog.v1.PublishOutcome."""

    UNSPECIFIED = 0
    PUBLISHED = 1
    ALREADY_THERE = 2
    REFUSED = 3


class Step(Enum):
    """What to do with the ingest next."""

    MOVE = "move"  # make the transition `event`
    WAIT = "wait"  # the store is at it; ask again
    RETRY = "retry"  # trouble that may pass: note it, back off
    ASK = "ask"  # the catalogue knows who has the name; decide with `after_asking`
    ADOPT = "adopt"  # what lies at the place may be these very bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """`event` and `dataset_uid` (empty: the ingest's own) belong to MOVE; `error` is a reason to keep."""

    step: Step
    event: IngestEvent | None = None
    error: LibrarianError | None = None
    dataset_uid: str = ""


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a dataset's bytes are said to be."""

    algorithm: str
    digest: bytes
    size_bytes: int
    member_count: int


@dataclass(frozen=True, slots=True)
class LiveDataset:
    """What the catalogue has under a name. `stores`: with a good copy."""

    uid: str
    kind: int
    algorithm: str
    digest: bytes
    stores: frozenset[str] = frozenset()


STORED: Final = Decision(Step.MOVE, IngestEvent.STORE)
WAIT: Final = Decision(Step.WAIT)
ADOPT: Final = Decision(Step.ADOPT)
_ENDED: Final = {
    UploadState.FAILED: InternalError("the store gave no reason why the upload failed"),
    UploadState.ABORTED: UploadClosed("the staged upload was given up", remedy="put it again"),
    UploadState.EXPIRED: UploadClosed("the staged upload had no news for too long", remedy="put it again"),
}


def failed(error: LibrarianError) -> Decision:
    return Decision(Step.MOVE, IngestEvent.FAIL, error)


def after_call(error: LibrarianError, count: int) -> Decision:
    """A whole call about `count` ingests was refused. Only an error about the one there is can be its end."""
    return failed(error) if count == 1 and is_permanent(error) else Decision(Step.RETRY, error=error)


def after_commit(
    state: UploadState, claimed: Bytes, found: Bytes | None, error: LibrarianError | None
) -> Decision:
    """What the store's word on one upload means. `found` is what it read, where it says so."""
    if state in {UploadState.COMMITTED, UploadState.CONFIRMED}:
        if found is not None and found != claimed:
            # The store checks this itself; an origin was signed over the claim, so nothing is taken on trust.
            return failed(ChecksumMismatch("the store holds other bytes than the client claimed"))
        return STORED
    if isinstance(error, (PathTaken, PathHeldByUpload)):
        return Decision(Step.ASK, error=error)
    if state in _ENDED:
        return failed(error or _ENDED[state])
    if state is UploadState.UNSPECIFIED and error is None:
        error = InternalError("the store said nothing about this upload")
    if error is None:
        return WAIT
    return failed(error) if is_permanent(error) else Decision(Step.RETRY, error=error)


def after_asking(
    name: str,
    kind: int,
    claimed: Bytes,
    live: LiveDataset | None,
    error: LibrarianError,
    *,
    may_be_published: bool,
    target_uid: str = "",
    store: str = "",
) -> Decision:
    """The path is taken (`error`: PathTaken) or held (PathHeldByUpload): what has the name, if anything?

    `may_be_published`: whoever holds the path is still on its way into the catalogue. `target_uid`: of a
    dataset born elsewhere, brought to `store`: what lies there and is in nobody's books (any more) may be
    it. Of a client's ingest nobody but the client can tell.
    """
    if target_uid and isinstance(error, PathTaken):
        unknown = live is None or (live.uid == target_uid and store not in live.stores)
        if unknown:
            return ADOPT
    if live is None and isinstance(error, PathHeldByUpload):
        if may_be_published:
            return Decision(Step.RETRY, error=error)
        return failed(PathTaken(f"{error.message}, and the catalogue does not know it", name=name))
    if live is None:
        return failed(error)
    if (live.kind, live.algorithm, live.digest) == (kind, claimed.algorithm, claimed.digest):
        return Decision(Step.MOVE, IngestEvent.FIND, dataset_uid=live.uid)
    return failed(NameTaken(f"{name} is already a dataset with another digest", name=name, uid=live.uid))


def after_adopting(
    name: str,
    uid: str,
    claimed: Bytes,
    found: tuple[str, Bytes] | None,
    error: LibrarianError | None,
) -> Decision:
    """What lies at the place of dataset `uid`: `found` is what the store holds it as, and its bytes."""
    if found == (uid, claimed):
        return STORED
    if found is not None or isinstance(error, ChecksumMismatch):
        return failed(
            PathTaken(f"other data than {name} lies at its place, unknown to the catalogue", name=name)
        )
    if error is None:
        error = InternalError("the store said nothing about this tree")
    if isinstance(error, NotFound):
        # It is gone: the next offer has its place.
        return failed(Unavailable(f"what lay at the place of {name} is gone", remedy="offer it again"))
    return failed(error) if is_permanent(error) else Decision(Step.RETRY, error=error)


def after_rereading(name: str, state: ReplicaState, error: LibrarianError | None) -> Decision | None:
    """A tree the store had in its books was read again in full; None: every byte agreed."""
    if state is ReplicaState.AVAILABLE:
        return None
    if state in {ReplicaState.CORRUPT, ReplicaState.MISSING}:
        return failed(
            PathTaken(
                f"what lies at the place of {name} is not as it was recorded",
                remedy="`librarian verify` the dataset there; what is there has to be set aside first",
                name=name,
            )
        )
    error = error or InternalError("the store did not say what it read")
    return failed(error) if is_permanent(error) else Decision(Step.RETRY, error=error)


def after_publish(outcome: PublishOutcome, uid: str, error: LibrarianError | None) -> Decision:
    """What the catalogue's verdict on one dataset means."""
    if outcome in {PublishOutcome.PUBLISHED, PublishOutcome.ALREADY_THERE}:
        return Decision(Step.MOVE, IngestEvent.PUBLISH, dataset_uid=uid)
    error = error or InternalError("the catalogue gave no verdict")
    # MembersIncomplete is not permanent: members swept or lost on the way are sent again.
    if outcome is PublishOutcome.REFUSED and is_permanent(error):
        return failed(error)
    return Decision(Step.RETRY, error=error)


def may_split(error: LibrarianError, count: int) -> bool:
    """Whether a refused batch is worth halving: one bad item, or too much in one message, spoils it."""
    return count > 1 and isinstance(error, (InvalidInput, Exhausted))
