"""What is to be done when this side's state of a transfer and the receiver's of its delivery are known. Pure.

The receiver is asked, never assumed: after each restart, and with each answer about a batch. Nothing here
looks at the age of anything.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from transfer_svc.receiving.lifecycle import DeliveryState
from transfer_svc.sending.lifecycle import BATCHED, TransferState


class Decision(Enum):
    LEAVE = "leave"  # nothing is due
    OFFER = "offer"  # the receiver knows nothing of it
    MOVE = "move"  # space is reserved there: bring the bytes
    DELIVER = "deliver"  # tell the receiver (again) that all bytes are there
    CONFIRM = "confirm"  # the receiver was told already: note it, and wait
    WAIT = "wait"  # the receiver is at it
    TAKE = "take"  # it is there: take the receipt
    MEND = "mend"  # refused or failed: what becomes of it, the error says
    AGAIN = "again"  # given up there: put off, and offer anew
    WITHDRAW = "withdraw"  # ended here, and space is still reserved there


_S, _D = TransferState, DeliveryState

_OF_RECEIVER: Final = {
    _D.ACCEPTED: Decision.MOVE,
    _D.ARRIVING: Decision.MOVE,
    _D.DELIVERED: Decision.CONFIRM,
    _D.VERIFYING: Decision.CONFIRM,
    _D.RECEIPTED: Decision.TAKE,
    _D.REFUSED: Decision.MEND,
    _D.FAILED: Decision.MEND,
    _D.EXPIRED: Decision.AGAIN,
}
_OF_DELIVERED: Final = {
    **_OF_RECEIVER,
    _D.ACCEPTED: Decision.DELIVER,
    _D.ARRIVING: Decision.DELIVER,
    _D.DELIVERED: Decision.WAIT,
    _D.VERIFYING: Decision.WAIT,
}
_OPEN: Final = (_D.ACCEPTED, _D.ARRIVING)


def reconcile(ours: TransferState, theirs: DeliveryState | None) -> Decision:
    """`theirs`: None where the receiver knows nothing of it."""
    if ours in BATCHED:
        if theirs is None:
            return Decision.OFFER
        return (_OF_DELIVERED if ours is _S.DELIVERED else _OF_RECEIVER)[theirs]
    if ours in {_S.PLANNED, _S.QUEUED, _S.HELD}:
        # The next offer takes over what has arrived.
        return Decision.TAKE if theirs is _D.RECEIPTED else Decision.LEAVE
    return Decision.WITHDRAW if theirs in _OPEN else Decision.LEAVE
