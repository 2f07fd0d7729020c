"""What a full re-read means for a copy. Pure: what was known and what was found come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from librarian.names import printable

MAX_REASON_CHARACTERS: Final = 1000


class ReplicaState(IntEnum):
    """As common.v1.ReplicaState."""

    UNSPECIFIED = 0
    STAGED = 1
    AVAILABLE = 2
    SUSPECT = 3
    CORRUPT = 4
    REMOVING = 5
    REMOVED = 6
    MISSING = 7


# Copies that are, or should be, there to be read.
READABLE: Final = frozenset(
    {ReplicaState.AVAILABLE, ReplicaState.SUSPECT, ReplicaState.CORRUPT, ReplicaState.MISSING}
)


@dataclass(frozen=True, slots=True)
class Next:
    """`record`: the state to tell the catalogue. `again`: a second full re-read has to confirm it."""

    record: ReplicaState
    again: bool = False


def after_reading(known: ReplicaState, found: ReplicaState) -> Next:
    """A first mismatch makes a copy suspect, whatever was thought of it; only a second one in a row, each
    over every byte, makes it corrupt. `found`: AVAILABLE, CORRUPT or MISSING.
    """
    if found is ReplicaState.CORRUPT and known not in {ReplicaState.SUSPECT, ReplicaState.CORRUPT}:
        return Next(ReplicaState.SUSPECT, again=True)
    return Next(found)


@dataclass(frozen=True, slots=True)
class Finding:
    """As store.v1.MemberFinding: `path` is empty for a file dataset, `location` absolute."""

    path: str
    reason: str
    location: str


def reason_of(name: str, findings: Sequence[Finding], count: int) -> str:
    """Why a copy is not as it should be, for people: the first member, where it lies, how many more."""
    if not findings:
        return ""
    first = findings[0]
    member = printable(first.path) if first.path else printable(name)
    text = f"{first.reason}: {member} at {printable(first.location)}"
    if count > 1:
        text += f", and {count - 1} more"
    return text[:MAX_REASON_CHARACTERS]
