"""The receiver's side of a transfer: every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from librarian.api.federation.v1 import federation_pb2
from librarian.errors import IllegalTransition
from transfer_svc.receiving.lifecycle import DELIVERY, FINAL, OPEN, DeliveryEvent, DeliveryState

S, E = DeliveryState, DeliveryEvent
LEGAL = {
    (S.ACCEPTED, E.ARRIVE, S.ARRIVING),
    (S.ACCEPTED, E.REFUSE, S.REFUSED),
    (S.ACCEPTED, E.SIGN, S.RECEIPTED),
    (S.ACCEPTED, E.DELIVER, S.DELIVERED),
    (S.ACCEPTED, E.FAIL, S.FAILED),
    (S.ACCEPTED, E.EXPIRE, S.EXPIRED),
    (S.ACCEPTED, E.WITHDRAW, S.EXPIRED),
    (S.ARRIVING, E.SIGN, S.RECEIPTED),
    (S.ARRIVING, E.DELIVER, S.DELIVERED),
    (S.ARRIVING, E.FAIL, S.FAILED),
    (S.ARRIVING, E.EXPIRE, S.EXPIRED),
    (S.ARRIVING, E.WITHDRAW, S.EXPIRED),
    (S.DELIVERED, E.VERIFY, S.VERIFYING),
    (S.DELIVERED, E.SIGN, S.RECEIPTED),
    (S.DELIVERED, E.FAIL, S.FAILED),
    (S.VERIFYING, E.SIGN, S.RECEIPTED),
    (S.VERIFYING, E.FAIL, S.FAILED),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)))
def test_every_pair(state: S, event: E) -> None:
    legal = {after for before, name, after in LEGAL if (before, name) == (state, event)}
    if legal:
        assert {DELIVERY.move(state, event)} == legal
    else:
        with pytest.raises(IllegalTransition):
            DELIVERY.move(state, event)


def test_it_says_what_the_contract_says() -> None:
    for state in S:
        assert federation_pb2.DeliveryState.Name(state) == f"DELIVERY_STATE_{state.name}"
    assert {S.RECEIPTED, S.REFUSED, S.FAILED, S.EXPIRED} == FINAL
    assert set(OPEN) == {state for state in S if DELIVERY.allows(state, E.WITHDRAW)}
    assert set(DELIVERY.why) == set(E)
