"""What an error means for a transfer, told apart by class and never by text. Pure.

PERMANENT is about the name, the bytes or an agreement: HELD for a person. TRANSIENT is about the moment:
tried again for ever, ever more rarely. UNKNOWN is tried a number of times, then HELD.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from librarian.errors import (
    Cancelled,
    ChecksumMismatch,
    Conflict,
    DataLoss,
    DatasetNotFound,
    DeadlineExceeded,
    Denied,
    Exhausted,
    InvalidInput,
    KeyNotIntroduced,
    LandingInvalid,
    LibrarianError,
    NoStore,
    NothingStaged,
    OriginInvalid,
    PathHeldByUpload,
    ReadFailed,
    ReceiptMismatch,
    RequestIdReused,
    SignatureInvalid,
    SourceChanged,
    SourceVanished,
    StoreDisabled,
    StoreIdentity,
    StoreNotFound,
    TicketInvalid,
    Unauthenticated,
    Unavailable,
    UploadClosed,
    UploadNotFound,
    Withdrawn,
    WrongSite,
)
from transfer_svc.backoff import Backoff


class Trouble(Enum):
    PERMANENT = "permanent"
    # This site's own bytes: HELD, and the copy is in doubt.
    SOURCE = "source"
    # The bytes that arrived are not those that were promised: the copy here is in doubt, or the way is bad.
    CHECKSUM = "checksum"
    TRANSIENT = "transient"
    # What was granted is not good any more: offer again.
    STALE = "stale"
    UNKNOWN = "unknown"


# In order: the first that fits decides.
_BY_CLASS: Final[tuple[tuple[tuple[type[LibrarianError], ...], Trouble], ...]] = (
    ((SourceVanished, SourceChanged, ReadFailed), Trouble.SOURCE),
    ((ChecksumMismatch, DataLoss), Trouble.CHECKSUM),
    ((TicketInvalid, UploadClosed, UploadNotFound, NothingStaged), Trouble.STALE),
    (
        (
            # A receipt that proves nothing: the peer is at fault, not the transfer.
            ReceiptMismatch,
            SignatureInvalid,
            PathHeldByUpload,
            RequestIdReused,
            Withdrawn,
            NoStore,
            StoreDisabled,
            StoreIdentity,
            StoreNotFound,
            Exhausted,
            Unavailable,
            DeadlineExceeded,
            Cancelled,
            Unauthenticated,
            Denied,
            WrongSite,
        ),
        Trouble.TRANSIENT,
    ),
    (
        (Conflict, InvalidInput, OriginInvalid, KeyNotIntroduced, LandingInvalid, DatasetNotFound),
        Trouble.PERMANENT,
    ),
)

# What is wrong with the link as a whole, when a call to the destination raises it.
LINK: Final[tuple[type[LibrarianError], ...]] = (
    Unavailable,
    DeadlineExceeded,
    Cancelled,
    Unauthenticated,
    Denied,
    WrongSite,
)

LATER: Final = Backoff(base=2.0, ceiling=300.0)
LINK_RETRY: Final = Backoff(base=0.5, ceiling=5.0)
# Tries for the same reason, where trying for ever makes no sense.
_TRIES: Final = {Trouble.CHECKSUM: 3, Trouble.UNKNOWN: 8}


def trouble_of(error: LibrarianError) -> Trouble:
    for classes, trouble in _BY_CLASS:
        if isinstance(error, classes):
            return trouble
    return Trouble.UNKNOWN


@dataclass(frozen=True, slots=True)
class Consequence:
    """`hold`: it waits for a person; else it is put off by `delay` seconds. `suspect`: the copy that was read
    is in doubt. `attempt`: failures in a row for this reason, this one included.
    """

    hold: bool
    suspect: bool
    attempt: int
    delay: float = 0.0


def consequence(error: LibrarianError, last_reason: str, attempts: int, rand: float) -> Consequence:
    """`last_reason`: of the failure before; `attempts`: failures in a row for that; `rand` in [0, 1)."""
    trouble = trouble_of(error)
    attempt = attempts + 1 if error.reason == last_reason else 1
    suspect = trouble in {Trouble.SOURCE, Trouble.CHECKSUM}
    hold = trouble in {Trouble.PERMANENT, Trouble.SOURCE} or attempt >= _TRIES.get(trouble, attempt + 1)
    return Consequence(hold, suspect, attempt, 0.0 if hold else LATER.delay(attempt, rand))
