"""The life of one copy on one store, as a table.

`STAGED → AVAILABLE → (SUSPECT → CORRUPT | AVAILABLE) → REMOVING → REMOVED`, and MISSING. A full re-read
that agrees with the digest makes a copy AVAILABLE again wherever it had fallen; nothing less does.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from librarian.errors import IllegalTransition
from svckit.lifecycle import Lifecycle


class ReplicaState(IntEnum):
    """The numbers of the proto's ReplicaState."""

    STAGED = 1
    AVAILABLE = 2
    SUSPECT = 3
    CORRUPT = 4
    REMOVING = 5
    REMOVED = 6
    MISSING = 7


class ReplicaEvent(Enum):
    PUBLISHED = "published"
    ADOPTED = "adopted"
    VERIFIED = "verified"
    DOUBTED = "doubted"
    CONDEMNED = "condemned"
    LOST = "lost"
    REMOVAL_STARTED = "removal_started"
    REMOVAL_DONE = "removal_done"


_S, _E = ReplicaState, ReplicaEvent

REPLICA = Lifecycle(
    name="replica",
    initial=_S.STAGED,
    transitions={
        (_S.STAGED, _E.PUBLISHED): _S.AVAILABLE,
        (_S.STAGED, _E.ADOPTED): _S.AVAILABLE,
        (_S.STAGED, _E.REMOVAL_STARTED): _S.REMOVING,
        (_S.AVAILABLE, _E.ADOPTED): _S.AVAILABLE,
        (_S.AVAILABLE, _E.VERIFIED): _S.AVAILABLE,
        (_S.AVAILABLE, _E.DOUBTED): _S.SUSPECT,
        (_S.AVAILABLE, _E.LOST): _S.MISSING,
        (_S.AVAILABLE, _E.REMOVAL_STARTED): _S.REMOVING,
        (_S.SUSPECT, _E.ADOPTED): _S.AVAILABLE,
        (_S.SUSPECT, _E.VERIFIED): _S.AVAILABLE,
        (_S.SUSPECT, _E.DOUBTED): _S.SUSPECT,
        (_S.SUSPECT, _E.CONDEMNED): _S.CORRUPT,
        (_S.SUSPECT, _E.LOST): _S.MISSING,
        (_S.SUSPECT, _E.REMOVAL_STARTED): _S.REMOVING,
        (_S.CORRUPT, _E.ADOPTED): _S.AVAILABLE,
        (_S.CORRUPT, _E.VERIFIED): _S.AVAILABLE,
        (_S.CORRUPT, _E.CONDEMNED): _S.CORRUPT,
        (_S.CORRUPT, _E.LOST): _S.MISSING,
        (_S.CORRUPT, _E.REMOVAL_STARTED): _S.REMOVING,
        (_S.MISSING, _E.ADOPTED): _S.AVAILABLE,
        (_S.MISSING, _E.VERIFIED): _S.AVAILABLE,
        (_S.MISSING, _E.DOUBTED): _S.SUSPECT,
        (_S.MISSING, _E.LOST): _S.MISSING,
        (_S.MISSING, _E.REMOVAL_STARTED): _S.REMOVING,
        (_S.REMOVING, _E.REMOVAL_DONE): _S.REMOVED,
        (_S.REMOVED, _E.ADOPTED): _S.AVAILABLE,
    },
    why={
        _E.PUBLISHED: "its dataset became visible",
        _E.ADOPTED: "verified bytes were registered at this place",
        _E.VERIFIED: "a full re-read agreed with the digest",
        _E.DOUBTED: "something contradicts the catalogue",
        _E.CONDEMNED: "a full re-read disagreed with the digest",
        _E.LOST: "the store answers and the bytes are not there",
        _E.REMOVAL_STARTED: "a certificate allows its removal",
        _E.REMOVAL_DONE: "the bytes are gone",
    },
)

_EVENT_OF_REPORT = {
    _S.AVAILABLE: _E.VERIFIED,
    _S.SUSPECT: _E.DOUBTED,
    _S.CORRUPT: _E.CONDEMNED,
    _S.MISSING: _E.LOST,
}


def event_of_report(reported: int, *, verified: bool, item: str) -> ReplicaEvent:
    """What happened, where a store reports a copy in state `reported` (a number of the proto's enum).

    `verified` says that every byte was just re-read and agreed: without it nothing is AVAILABLE.
    A report cannot stage or remove: raises IllegalTransition.
    """
    event = _EVENT_OF_REPORT.get(reported)  # type: ignore[call-overload]
    if event is None:
        shown = ReplicaState(reported).name if reported in set(ReplicaState) else str(reported)
        raise IllegalTransition(
            f"replica {item}: state {shown} cannot be reported",
            remedy="report AVAILABLE, SUSPECT, CORRUPT or MISSING; removal needs a certificate",
            item=item,
            state=shown,
        )
    if event is ReplicaEvent.VERIFIED and not verified:
        raise IllegalTransition(
            f"replica {item} is reported AVAILABLE without a verify_time",
            remedy="re-read every byte and say when",
            item=item,
        )
    found: ReplicaEvent = event
    return found
