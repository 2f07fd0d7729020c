"""What a watch knows: transfers under way, queues, and rates from a moving window. Pure: answers and times
come in, figures go out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from librarian.api.transfer.v1 import transfer_pb2
from librarian.progress import MovingRate

ENDED = frozenset(
    {
        transfer_pb2.TRANSFER_STATE_VERIFIED,
        transfer_pb2.TRANSFER_STATE_PRESENT,
        transfer_pb2.TRANSFER_STATE_HELD,
        transfer_pb2.TRANSFER_STATE_FAILED,
        transfer_pb2.TRANSFER_STATE_CANCELLED,
    }
)
UNDER_WAY = frozenset(
    {
        transfer_pb2.TRANSFER_STATE_OFFERED,
        transfer_pb2.TRANSFER_STATE_MOVING,
        transfer_pb2.TRANSFER_STATE_DELIVERED,
    }
)
# All bytes are at the other side.
ARRIVED = frozenset({transfer_pb2.TRANSFER_STATE_DELIVERED, transfer_pb2.TRANSFER_STATE_VERIFIED})

# Transfers whose state is known to have been told: the last ones, lest a watch of a month grows.
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes a second; seconds until it is through, None where nobody can tell."""

    bytes_per_second: float
    seconds_left: float | None


@dataclass(slots=True)
class Board:
    """`active`: those under way, by id. `ended`: how many of this watch's ended in each state."""

    active: dict[str, transfer_pb2.Transfer] = field(default_factory=dict)
    queues: list[transfer_pb2.QueueStatus] = field(default_factory=list)
    ended: Counter[transfer_pb2.TransferState.ValueType] = field(default_factory=Counter)
    arrived_bytes: int = 0
    _arrived_by: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _rates: dict[tuple[str, str, str], MovingRate] = field(default_factory=dict)
    _own_rates: dict[str, MovingRate] = field(default_factory=dict)
    _states: dict[str, transfer_pb2.TransferState.ValueType] = field(default_factory=dict)
    _opened: bool = False

    def apply(
        self, answer: transfer_pb2.WatchTransfersResponse, *, anew: bool = False
    ) -> list[transfer_pb2.Transfer]:
        """Those whose state is news. `anew`: the first answer after a break, which tells all that is under
        way; what ended meanwhile is in no answer.
        """
        known = self.active
        if anew:
            self.active = {}
        news = [
            transfer for transfer in answer.transfers if self._take(known.get(transfer.transfer_id), transfer)
        ]
        self._opened = True
        # Sums may come less often than news: none beside news says nothing about them.
        if answer.queues or not (answer.transfers or self.active):
            self.queues = list(answer.queues)
        elif not self.active:
            self.queues = [queue for queue in map(_at_rest, self.queues) if _has_something(queue)]
        return news

    def _take(self, known: transfer_pb2.Transfer | None, transfer: transfer_pb2.Transfer) -> bool:
        self._count_bytes(known, transfer)
        if transfer.state in UNDER_WAY:
            self.active[transfer.transfer_id] = transfer
        else:
            self.active.pop(transfer.transfer_id, None)
            if transfer.state in ENDED:
                self.ended[transfer.state] += 1
        return self._is_news(transfer)

    def _is_news(self, transfer: transfer_pb2.Transfer) -> bool:
        before = self._states.pop(transfer.transfer_id, None)
        self._states[transfer.transfer_id] = transfer.state
        if len(self._states) > REMEMBERED:
            del self._states[next(iter(self._states))]
        return before != transfer.state

    def _count_bytes(self, known: transfer_pb2.Transfer | None, transfer: transfer_pb2.Transfer) -> None:
        """What arrived since the last look. What had arrived before the watch is none of it."""
        if known is not None:
            before = _arrived(known)
        elif self._opened and transfer.state in ARRIVED:
            before = 0
        else:
            return
        more = max(0, _arrived(transfer) - before)
        # Queues are told by route, or summed over routes.
        for route_id in (transfer.route_id, ""):
            self._arrived_by[transfer.destination, transfer.via, route_id] += more
        self.arrived_bytes += more

    def tick(self, now: float) -> None:
        """A look at the monotonic time `now`: rates are taken here, also while no news comes."""
        for queue in self.queues:
            key = _key(queue)
            self._rates.setdefault(key, MovingRate()).sample(now, self._arrived_by[key])
        for gone in self._own_rates.keys() - self.active.keys():
            del self._own_rates[gone]
        for transfer_id, transfer in self.active.items():
            self._own_rates.setdefault(transfer_id, MovingRate()).sample(now, _arrived(transfer))

    def queue_figures(self, queue: transfer_pb2.QueueStatus) -> Figures:
        left = queue.waiting_bytes + queue.active_bytes - queue.moved_bytes
        return _figures(self._rates.get(_key(queue)), queue.bytes_per_second, left)

    def transfer_figures(self, transfer: transfer_pb2.Transfer) -> Figures:
        left = transfer.size_bytes - _arrived(transfer)
        return _figures(self._own_rates.get(transfer.transfer_id), transfer.bytes_per_second, left)


def _at_rest(queue: transfer_pb2.QueueStatus) -> transfer_pb2.QueueStatus:
    """Until the next sums: nothing of it is under way any more."""
    found = transfer_pb2.QueueStatus()
    found.CopyFrom(queue)
    for figure in ("active_count", "active_bytes", "moved_bytes", "bytes_per_second"):
        found.ClearField(figure)
    return found


def _has_something(queue: transfer_pb2.QueueStatus) -> bool:
    return bool(queue.waiting_count or queue.held_count or queue.failed_count)


def _key(queue: transfer_pb2.QueueStatus) -> tuple[str, str, str]:
    return queue.destination, queue.via, queue.route_id


def _arrived(transfer: transfer_pb2.Transfer) -> int:
    return transfer.size_bytes if transfer.state in ARRIVED else transfer.moved_bytes


def _figures(rate: MovingRate | None, told: int, left: int) -> Figures:
    """By what was seen here; before there is anything to see, by what the site says."""
    seen = rate.rate() if rate is not None else None
    per_second = seen or float(told)
    return Figures(per_second, max(0, left) / per_second if per_second > 0 else None)
