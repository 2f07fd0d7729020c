"""The life of a transfer, the sender's side: one table; whatever is absent is illegal. Pure."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from svckit.lifecycle import Lifecycle


class TransferState(IntEnum):
    """As transfer.v1.TransferState."""

    PLANNED = 1
    QUEUED = 2
    OFFERED = 3
    MOVING = 4
    DELIVERED = 5
    VERIFIED = 6
    HELD = 7
    FAILED = 8
    CANCELLED = 9
    PRESENT = 10


class TransferEvent(Enum):
    ENQUEUE = "enqueue"
    OFFER = "offer"
    ACCEPT = "accept"
    FIND = "find"
    DELIVER = "deliver"
    VERIFY = "verify"
    PUT_OFF = "put_off"
    HOLD = "hold"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    DOUBT = "doubt"


_S, _E = TransferState, TransferEvent

# Not final, and not waiting for a person.
LIVE: Final = (_S.PLANNED, _S.QUEUED, _S.OFFERED, _S.MOVING, _S.DELIVERED)
# In a batch, which the receiver may know of.
BATCHED: Final = (_S.OFFERED, _S.MOVING, _S.DELIVERED)
# A receipt is recorded.
ARRIVED: Final = (_S.VERIFIED, _S.PRESENT)

TRANSFER: Final[Lifecycle[TransferState, TransferEvent]] = Lifecycle(
    name="transfer",
    initial=_S.PLANNED,
    transitions={
        (_S.PLANNED, _E.ENQUEUE): _S.QUEUED,
        (_S.QUEUED, _E.OFFER): _S.OFFERED,
        (_S.OFFERED, _E.ACCEPT): _S.MOVING,
        # The receiver has forgotten it, restored from a backup: the bytes are to come again.
        (_S.DELIVERED, _E.ACCEPT): _S.MOVING,
        (_S.OFFERED, _E.DELIVER): _S.DELIVERED,
        (_S.MOVING, _E.DELIVER): _S.DELIVERED,
        **{(state, _E.VERIFY): _S.VERIFIED for state in (*BATCHED,)},
        **{(state, _E.FIND): _S.PRESENT for state in (*LIVE, _S.HELD)},
        **{(state, _E.PUT_OFF): _S.QUEUED for state in (_S.OFFERED, _S.MOVING, _S.DELIVERED)},
        **{(state, _E.HOLD): _S.HELD for state in LIVE},
        **{(state, _E.FAIL): _S.FAILED for state in LIVE},
        **{(state, _E.CANCEL): _S.CANCELLED for state in (*LIVE, _S.HELD, _S.FAILED)},
        **{(state, _E.RETRY): _S.QUEUED for state in (_S.HELD, _S.FAILED, _S.CANCELLED)},
        **{(state, _E.DOUBT): _S.QUEUED for state in ARRIVED},
    },
    why={
        _E.ENQUEUE: "nothing it waited for is left",
        _E.OFFER: "it is in a batch, and the batch is written down",
        _E.ACCEPT: "the receiver has reserved space and said where the bytes go",
        _E.FIND: "it is there already, or came by another way: a receipt says so",
        _E.DELIVER: "all its bytes have arrived, by the mover's word; the receiver is told",
        _E.VERIFY: "the receiver has re-read every byte and signed; the receipt is recorded",
        _E.PUT_OFF: "trouble that may pass, or a receiver that knows nothing of it: again later",
        _E.HOLD: "only a person or the peer can mend it; the reason is kept",
        _E.FAIL: "it can never work; the reason is kept",
        _E.CANCEL: "somebody gave it up, or its route was removed",
        _E.RETRY: "somebody, or what it waited for, says: again",
        _E.DOUBT: "the receiver's records are of another time (a restored backup): it is asked again",
    },
)
