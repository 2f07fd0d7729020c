"""What a report about a copy makes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from librarian.errors import ReplicaNotFound

from . import eventtypes
from .lifecycle import REPLICA, ReplicaEvent, ReplicaState

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Copy:
    """`verified_us`: when every byte was last re-read and agreed; None where nobody knows."""

    state: ReplicaState
    reason: str = ""
    verified_us: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`key`: (dataset uid, store). `verified_us` with VERIFIED and ADOPTED."""

    key: Key
    event: ReplicaEvent
    reason: str = ""
    verified_us: int | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """An event for the log; `before` is None where the copy was not known."""

    key: Key
    type: str
    before: ReplicaState | None
    after: ReplicaState
    reason: str = ""


def added(report: Report) -> tuple[Copy, Happening]:
    """A copy that was not known and has been read in full."""
    state = ReplicaState.AVAILABLE
    happening = Happening(report.key, eventtypes.REPLICA_ADDED, None, state)
    return Copy(state, verified_us=report.verified_us), happening


def after(copy: Copy | None, report: Report) -> tuple[Copy, Happening | None]:
    """The copy as it is now, and what to log; nothing where it was so already.

    Raises IllegalTransition, ReplicaNotFound.
    """
    uid, store = report.key
    if copy is None:
        raise ReplicaNotFound(
            f"dataset {uid} has no replica on {store}",
            remedy="a copy becomes known by a report of AVAILABLE, after a full read",
            uid=uid,
            store=store,
        )
    state = REPLICA.move(copy.state, report.event, item=f"of {uid} on {store}")
    if report.event in {ReplicaEvent.VERIFIED, ReplicaEvent.ADOPTED}:
        if report.event is ReplicaEvent.ADOPTED and copy.state is state:
            return copy, None
        # Reports may overtake one another: the latest full read counts.
        now = Copy(state, "", max(copy.verified_us or 0, report.verified_us or 0))
    else:
        now = replace(copy, state=state, reason=report.reason)
    if now == copy:
        return copy, None
    reread = now.state is copy.state and now.verified_us != copy.verified_us
    type_ = eventtypes.REPLICA_VERIFIED if reread else eventtypes.REPLICA_STATE_CHANGED
    return now, Happening(report.key, type_, copy.state, now.state, now.reason)
