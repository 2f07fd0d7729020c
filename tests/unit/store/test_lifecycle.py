"""Every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from librarian.api.store.v1 import store_pb2
from librarian.errors import IllegalTransition
from store_svc.lifecycle import (
    GIVEN_UP,
    LIFECYCLE,
    PROMISED,
    UNFINISHED,
    UploadEvent,
    UploadState,
    states_before,
)

S, E = UploadState, UploadEvent
LEGAL = {
    (S.OPEN, E.SEAL): S.SEALED,
    (S.OPEN, E.ABORT): S.ABORTED,
    (S.OPEN, E.EXPIRE): S.EXPIRED,
    (S.SEALED, E.VERIFY): S.VERIFIED,
    (S.SEALED, E.FAIL): S.FAILED,
    (S.SEALED, E.ABORT): S.ABORTED,
    (S.VERIFIED, E.PLACE): S.COMMITTED,
    (S.VERIFIED, E.FAIL): S.FAILED,
    (S.VERIFIED, E.ABORT): S.ABORTED,
    (S.COMMITTED, E.CONFIRM): S.CONFIRMED,
    (S.COMMITTED, E.ABORT): S.ABORTED,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)))
def test_each_pair(state: UploadState, event: UploadEvent) -> None:
    expected = LEGAL.get((state, event))
    assert LIFECYCLE.allows(state, event) is (expected is not None)
    assert (state in states_before(event)) is (expected is not None)
    if expected is None:
        with pytest.raises(IllegalTransition):
            LIFECYCLE.move(state, event)
    else:
        assert LIFECYCLE.move(state, event) is expected


def test_states_are_those_of_the_contract() -> None:
    told = {name.removeprefix("UPLOAD_STATE_"): number for name, number in store_pb2.UploadState.items()}
    assert {state.name: state.value for state in S} | {"UNSPECIFIED": 0} == told


def test_groups() -> None:
    assert LIFECYCLE.final == {S.CONFIRMED, *GIVEN_UP}
    assert set(UNFINISHED) < set(PROMISED)
    assert set(LIFECYCLE.why) == set(E)
