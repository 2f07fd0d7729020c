"""The life of an upload. Pure: a table, its states numbered as store.v1.UploadState."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

from svckit.lifecycle import Lifecycle


class UploadState(IntEnum):
    OPEN = 1
    SEALED = 2
    VERIFIED = 3
    COMMITTED = 4
    CONFIRMED = 5
    FAILED = 6
    ABORTED = 7
    EXPIRED = 8


class UploadEvent(StrEnum):
    SEAL = "seal"
    VERIFY = "verify"
    PLACE = "place"
    CONFIRM = "confirm"
    FAIL = "fail"
    ABORT = "abort"
    EXPIRE = "expire"


LIFECYCLE: Final = Lifecycle[UploadState, UploadEvent](
    name="upload",
    initial=UploadState.OPEN,
    transitions={
        (UploadState.OPEN, UploadEvent.SEAL): UploadState.SEALED,
        (UploadState.SEALED, UploadEvent.VERIFY): UploadState.VERIFIED,
        (UploadState.VERIFIED, UploadEvent.PLACE): UploadState.COMMITTED,
        (UploadState.COMMITTED, UploadEvent.CONFIRM): UploadState.CONFIRMED,
        (UploadState.SEALED, UploadEvent.FAIL): UploadState.FAILED,
        (UploadState.VERIFIED, UploadEvent.FAIL): UploadState.FAILED,
        (UploadState.OPEN, UploadEvent.ABORT): UploadState.ABORTED,
        (UploadState.SEALED, UploadEvent.ABORT): UploadState.ABORTED,
        (UploadState.VERIFIED, UploadEvent.ABORT): UploadState.ABORTED,
        (UploadState.COMMITTED, UploadEvent.ABORT): UploadState.ABORTED,
        (UploadState.OPEN, UploadEvent.EXPIRE): UploadState.EXPIRED,
    },
    why={
        UploadEvent.SEAL: "the client has said that is all; its bytes leave every client's reach",
        UploadEvent.VERIFY: "every byte was read again, agrees with the claims and is durable",
        UploadEvent.PLACE: "the data lies at its final path, durably, and the store holds it",
        UploadEvent.CONFIRM: "the dataset is in the catalogue",
        UploadEvent.FAIL: "the bytes are not what was claimed, or their place is taken",
        UploadEvent.ABORT: "whoever began it gave it up, or the catalogue refused it",
        UploadEvent.EXPIRE: "nothing was heard of it for too long",
    },
)

# Their bytes may still have to be written: what was promised to them counts.
PROMISED: Final = (UploadState.OPEN, UploadState.SEALED, UploadState.VERIFIED)
# A crash may have left their work half done.
UNFINISHED: Final = (UploadState.SEALED, UploadState.VERIFIED)
# Nothing of them may remain on the store.
GIVEN_UP: Final = (UploadState.FAILED, UploadState.ABORTED, UploadState.EXPIRED)


def states_before(event: UploadEvent) -> tuple[UploadState, ...]:
    """The states that `event` can happen in: what a guarded update asks for."""
    return tuple(state for state, possible in LIFECYCLE.transitions if possible is event)
