"""Why a dataset is, or is not yet, somewhere: sentences made from what was decided and stored. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.values import RELAY, Destination, Route, Transfer


class Standing(IntEnum):
    """As transfer.v1.Standing."""

    THERE = 1
    ON_ITS_WAY = 2
    WAITING = 3
    HELD = 4
    FAILED = 5
    CANCELLED = 6
    NO_ROUTE = 7
    NOT_PLANNED_YET = 8


@dataclass(frozen=True, slots=True)
class Telling:
    standing: Standing
    summary: str
    waits_for: str = ""
    next_step: str = ""
    since: datetime | None = None
    next_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of the way to a destination. `broken`: why calls fail, "" while they do not."""

    paused: bool = False
    unknown: bool = False
    broken: str = ""
    next_time: datetime | None = None


_S = TransferState


def there(to: Destination, since: datetime | None, via: str) -> Telling:
    if not to.is_peer:
        return Telling(Standing.THERE, f"a copy on {to} is well", since=since)
    relayed = f", brought by {via}" if via not in {"", to.name} else ""
    return Telling(Standing.THERE, f"{to} says so in a signed receipt{relayed}", since=since)


def unplanned(to: Destination, matching: Sequence[Route], obstacles: Sequence[str]) -> Telling:
    """No transfer was ever made."""
    if not matching:
        return Telling(Standing.NO_ROUTE, f"no route wants it at {to}", next_step="add a route, or a tag")
    waits = "; ".join(dict.fromkeys(each for each in obstacles if each))
    return Telling(
        Standing.NOT_PLANNED_YET,
        f"a route wants it at {to}",
        waits_for=waits or "the planner has not come to it yet",
        next_step="the planner makes a transfer of it",
    )


def of_transfer(transfer: Transfer, route: Route | None, way: Way, reason: str) -> Telling:
    """`reason`: its stored trouble as a sentence, "" for none."""
    state, to, since = TransferState(transfer.state), transfer.to, transfer.state_time
    if state is _S.PLANNED:
        through = route.through if route is not None else "another peer"
        return Telling(
            Standing.WAITING,
            f"{through} carries it on to {to}" if transfer.via == RELAY else "it is planned",
            f"the receipt of {to}",
            "nothing is sent from here; the receipt closes it",
            since,
        )
    if state is _S.QUEUED:
        return _queued(transfer, route, way, reason)
    if state in {_S.OFFERED, _S.MOVING}:
        what = f"it is being offered to {to}" if state is _S.OFFERED else f"its bytes are on the way to {to}"
        waits = _hindrance(route, way)
        return Telling(Standing.ON_ITS_WAY, what, waits, "delivery, then the receiver re-reads it", since)
    if state is _S.DELIVERED:
        waits = _hindrance(route, way) or f"{to} re-reads every byte"
        return Telling(
            Standing.ON_ITS_WAY, "all its bytes are there", waits, "its receipt is recorded", since
        )
    ended = {
        _S.HELD: Telling(Standing.HELD, reason or "it is held", "a person", "retry it when mended", since),
        _S.FAILED: Telling(Standing.FAILED, reason or "it failed", "", "retry it, if it can work now", since),
        _S.CANCELLED: Telling(Standing.CANCELLED, "it was cancelled", "", "retry it, if it is wanted", since),
    }
    gone = Telling(Standing.THERE, f"{to} has receipted it; the receipt is not known here", since=since)
    return ended.get(state, gone)


def _queued(transfer: Transfer, route: Route | None, way: Way, reason: str) -> Telling:
    since, due = transfer.state_time, transfer.not_before
    if hindrance := _hindrance(route, way):
        next_time = way.next_time or due
        return Telling(Standing.WAITING, "it waits in the queue", hindrance, "", since, next_time)
    if due is not None:
        return Telling(
            Standing.WAITING,
            f"tried {transfer.attempt_count} times: {reason}",
            "the time of the next try",
            f"offered to {transfer.to} again",
            since,
            due,
        )
    return Telling(Standing.WAITING, "it waits for its turn", "its turn", f"offered to {transfer.to}", since)


def _hindrance(route: Route | None, way: Way) -> str:
    if way.paused:
        return "the peer is paused"
    if way.unknown:
        return "the peer is not known any more"
    if route is not None and route.paused:
        return "its route is paused"
    if way.broken:
        return f"the link: {way.broken}"
    return ""
