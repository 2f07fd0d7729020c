"""The lives of a job at a disk, of a disk's part in a shipment, and of what lies on it. Pure.

One table each; whatever is absent is illegal. Both ends of a shipment keep a consignment and its cargo, by
the same tables: the sender learns of arrival by news, the receiver of departure.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from svckit.lifecycle import Lifecycle


class JobState(IntEnum):
    """As shipment.v1.JobState."""

    WAITING = 1
    RUNNING = 2
    DONE = 3
    FAILED = 4
    CANCELLED = 5


class JobEvent(Enum):
    CLAIM = "claim"
    PUT_OFF = "put_off"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"


class JobKind(IntEnum):
    """As shipment.v1.JobKind."""

    INIT = 1
    PACK = 2
    SEAL = 3
    READ = 4
    SYNC = 5


class ConsignmentState(IntEnum):
    """As shipment.v1.ConsignmentState."""

    PLANNED = 1
    PACKING = 2
    SEALED = 3
    IN_TRANSIT = 4
    ARRIVED = 5
    READING = 6
    RECONCILED = 7
    RELEASED = 8
    LOST = 9
    CANCELLED = 10


class ConsignmentEvent(Enum):
    PACK = "pack"
    SEAL = "seal"
    DEPART = "depart"
    ARRIVE = "arrive"
    READ = "read"
    RECONCILE = "reconcile"
    RELEASE = "release"
    LOSE = "lose"
    CANCEL = "cancel"


class CargoState(IntEnum):
    """As shipment.v1.CargoState."""

    ASSIGNED = 1
    PACKED = 2
    OK = 3
    PRESENT = 4
    CORRUPT = 5
    MISSING = 6
    UNSIGNED = 7
    REFUSED = 8
    REQUEUED = 9


class CargoEvent(Enum):
    COPY = "copy"
    TAKE_IN = "take_in"
    FIND = "find"
    DAMAGE = "damage"
    MISS = "miss"
    QUARANTINE = "quarantine"
    REFUSE = "refuse"
    REQUEUE = "requeue"


_J, _JE = JobState, JobEvent
_C, _CE = ConsignmentState, ConsignmentEvent
_G, _GE = CargoState, CargoEvent

JOB: Final[Lifecycle[JobState, JobEvent]] = Lifecycle(
    name="disk job",
    initial=_J.WAITING,
    transitions={
        (_J.WAITING, _JE.CLAIM): _J.RUNNING,
        # Its lease ran out: another takes it over.
        (_J.RUNNING, _JE.CLAIM): _J.RUNNING,
        (_J.RUNNING, _JE.PUT_OFF): _J.WAITING,
        (_J.RUNNING, _JE.FINISH): _J.DONE,
        **{(state, _JE.FAIL): _J.FAILED for state in (_J.WAITING, _J.RUNNING)},
        **{(state, _JE.CANCEL): _J.CANCELLED for state in (_J.WAITING, _J.RUNNING)},
    },
    why={
        _JE.CLAIM: "a worker that reaches the path is at it",
        _JE.PUT_OFF: "trouble that may pass: again later",
        _JE.FINISH: "all of it is done and written down",
        _JE.FAIL: "somebody has to do something first; the error says what",
        _JE.CANCEL: "somebody stopped it; what was done is kept",
    },
)

# Under way or on the way to it: what lies on the disk is one of the copies that cannot be counted.
TRAVELLING: Final = (_C.SEALED, _C.IN_TRANSIT, _C.ARRIVED, _C.READING)
# The disk is free for another shipment.
OVER: Final = (_C.RELEASED, _C.LOST, _C.CANCELLED)

CONSIGNMENT: Final[Lifecycle[ConsignmentState, ConsignmentEvent]] = Lifecycle(
    name="consignment",
    initial=_C.PLANNED,
    transitions={
        (_C.PLANNED, _CE.PACK): _C.PACKING,
        (_C.PACKING, _CE.SEAL): _C.SEALED,
        (_C.SEALED, _CE.DEPART): _C.IN_TRANSIT,
        # Nobody said that it left, and there it is; or it had been given up for lost.
        **{(state, _CE.ARRIVE): _C.ARRIVED for state in (_C.SEALED, _C.IN_TRANSIT, _C.LOST)},
        **{
            (state, _CE.READ): _C.READING
            for state in (_C.SEALED, _C.IN_TRANSIT, _C.ARRIVED, _C.RECONCILED, _C.LOST)
        },
        (_C.READING, _CE.RECONCILE): _C.RECONCILED,
        # The sender learns of the end first, where news of the middle were late.
        **{
            (state, _CE.RECONCILE): _C.RECONCILED for state in (_C.SEALED, _C.IN_TRANSIT, _C.ARRIVED, _C.LOST)
        },
        (_C.RECONCILED, _CE.RELEASE): _C.RELEASED,
        (_C.LOST, _CE.RELEASE): _C.RELEASED,
        **{(state, _CE.LOSE): _C.LOST for state in TRAVELLING},
        **{(state, _CE.CANCEL): _C.CANCELLED for state in (_C.PLANNED, _C.PACKING, _C.SEALED)},
    },
    why={
        _CE.PACK: "bytes are being copied to the disk",
        _CE.SEAL: "the bag is whole, its manifest is signed and kept",
        _CE.DEPART: "a carrier has it",
        _CE.ARRIVE: "it is at its destination, by somebody's word or because it was plugged in there",
        _CE.READ: "the destination verifies it and takes it in",
        _CE.RECONCILE: "each dataset has its verdict",
        _CE.RELEASE: "each dataset has its receipt or is in the queue again: the disk may be wiped",
        _CE.LOSE: "given up; its datasets may be sent again",
        _CE.CANCEL: "it does not go; its datasets are in the queue again",
    },
)

# Nothing more is expected of this disk for it.
SETTLED: Final = (_G.OK, _G.PRESENT, _G.REQUEUED)
_UNREAD: Final = (_G.PACKED, _G.REQUEUED)
_MENDABLE: Final = (_G.CORRUPT, _G.MISSING, _G.UNSIGNED, _G.REFUSED)

CARGO: Final[Lifecycle[CargoState, CargoEvent]] = Lifecycle(
    name="cargo",
    initial=_G.ASSIGNED,
    transitions={
        (_G.ASSIGNED, _GE.COPY): _G.PACKED,
        **{(state, _GE.TAKE_IN): _G.OK for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.FIND): _G.PRESENT for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.DAMAGE): _G.CORRUPT for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.MISS): _G.MISSING for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.QUARANTINE): _G.UNSIGNED for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.REFUSE): _G.REFUSED for state in (*_UNREAD, *_MENDABLE)},
        **{(state, _GE.REQUEUE): _G.REQUEUED for state in (_G.ASSIGNED, _G.PACKED, *_MENDABLE)},
    },
    why={
        _GE.COPY: "it lies on the disk, and every byte was read back from the medium",
        _GE.TAKE_IN: "the receiver has re-read and published it; or its receipt came home",
        _GE.FIND: "the receiver had it already, and signed for it",
        _GE.DAMAGE: "bytes on the disk are not those that were packed: what is damaged is asked for again",
        _GE.MISS: "it, or a part of it, is not on the disk: asked for again",
        _GE.QUARANTINE: "nothing proves whose it is: it waits for an operator",
        _GE.REFUSE: "the receiver will not have it; the reason is kept",
        _GE.REQUEUE: "it is in the queue again, for another disk or the link",
    },
)
