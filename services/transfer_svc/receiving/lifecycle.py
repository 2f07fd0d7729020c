"""The life of a delivery, the receiver's side of a transfer: one table; what is absent is illegal. Pure."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from svckit.lifecycle import Lifecycle


class DeliveryState(IntEnum):
    """As federation.v1.DeliveryState."""

    ACCEPTED = 1
    ARRIVING = 2
    DELIVERED = 3
    VERIFYING = 4
    RECEIPTED = 5
    REFUSED = 6
    FAILED = 7
    EXPIRED = 8


class DeliveryEvent(Enum):
    ARRIVE = "arrive"
    DELIVER = "deliver"
    VERIFY = "verify"
    SIGN = "sign"
    REFUSE = "refuse"
    FAIL = "fail"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"


_S, _E = DeliveryState, DeliveryEvent

# Space is reserved and bytes may still come.
OPEN: Final = (_S.ACCEPTED, _S.ARRIVING)

DELIVERY: Final[Lifecycle[DeliveryState, DeliveryEvent]] = Lifecycle(
    name="delivery",
    initial=_S.ACCEPTED,
    transitions={
        (_S.ACCEPTED, _E.ARRIVE): _S.ARRIVING,
        (_S.ACCEPTED, _E.REFUSE): _S.REFUSED,
        # It was here already, or came by another way: signed at once.
        **{(state, _E.SIGN): _S.RECEIPTED for state in OPEN},
        **{(state, _E.DELIVER): _S.DELIVERED for state in OPEN},
        (_S.DELIVERED, _E.VERIFY): _S.VERIFYING,
        (_S.DELIVERED, _E.SIGN): _S.RECEIPTED,
        (_S.VERIFYING, _E.SIGN): _S.RECEIPTED,
        **{(state, _E.FAIL): _S.FAILED for state in (*OPEN, _S.DELIVERED, _S.VERIFYING)},
        **{(state, _E.EXPIRE): _S.EXPIRED for state in OPEN},
        **{(state, _E.WITHDRAW): _S.EXPIRED for state in OPEN},
    },
    why={
        _E.ARRIVE: "bytes are coming",
        _E.DELIVER: "the sender says that all bytes are there",
        _E.VERIFY: "the store is at it: sealing and re-reading every byte",
        _E.SIGN: "it is published, or was here before, and the receipt is signed",
        _E.REFUSE: "this site cannot take it; the reason is told to both sides",
        _E.FAIL: "the store or the catalogue refused the bytes for good; the reason is kept",
        _E.EXPIRE: "nothing was heard of it for a delivery's lifetime",
        _E.WITHDRAW: "the sender gave it up",
    },
)

FINAL: Final = DELIVERY.final
