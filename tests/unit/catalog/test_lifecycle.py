"""The replica's table, every pair of it."""

from __future__ import annotations

from itertools import product

import pytest

from catalog_svc.lifecycle import REPLICA, ReplicaEvent, ReplicaState, event_of_report
from librarian.api.common.v1 import common_pb2
from librarian.errors import IllegalTransition

S, E = ReplicaState, ReplicaEvent

# What may follow, written a second time and from the other side: by event.
FROM = {
    E.PUBLISHED: {S.STAGED},
    E.ADOPTED: set(S) - {S.REMOVING},
    E.VERIFIED: {S.AVAILABLE, S.SUSPECT, S.CORRUPT, S.MISSING},
    E.DOUBTED: {S.AVAILABLE, S.SUSPECT, S.MISSING},
    E.CONDEMNED: {S.SUSPECT, S.CORRUPT},
    E.LOST: {S.AVAILABLE, S.SUSPECT, S.CORRUPT, S.MISSING},
    E.REMOVAL_STARTED: {S.STAGED, S.AVAILABLE, S.SUSPECT, S.CORRUPT, S.MISSING},
    E.REMOVAL_DONE: {S.REMOVING},
}
LEADS_TO = {
    E.PUBLISHED: S.AVAILABLE,
    E.ADOPTED: S.AVAILABLE,
    E.VERIFIED: S.AVAILABLE,
    E.DOUBTED: S.SUSPECT,
    E.CONDEMNED: S.CORRUPT,
    E.LOST: S.MISSING,
    E.REMOVAL_STARTED: S.REMOVING,
    E.REMOVAL_DONE: S.REMOVED,
}


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_every_pair(state: ReplicaState, event: ReplicaEvent) -> None:
    if state in FROM[event]:
        assert REPLICA.move(state, event) is LEADS_TO[event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.name}: {event.name}"):
            REPLICA.move(state, event)


def test_every_event_is_explained() -> None:
    assert set(REPLICA.why) == set(E)


def test_states_are_those_of_the_contract() -> None:
    numbers = dict(common_pb2.ReplicaState.items())
    assert numbers.pop("REPLICA_STATE_UNSPECIFIED") == 0
    assert {f"REPLICA_STATE_{state.name}": state.value for state in S} == numbers


@pytest.mark.parametrize(
    ("reported", "event"),
    [(S.AVAILABLE, E.VERIFIED), (S.SUSPECT, E.DOUBTED), (S.CORRUPT, E.CONDEMNED), (S.MISSING, E.LOST)],
)
def test_what_may_be_reported(reported: ReplicaState, event: ReplicaEvent) -> None:
    assert event_of_report(reported.value, verified=True, item="x") is event


@pytest.mark.parametrize("reported", [S.STAGED, S.REMOVING, S.REMOVED, 0, 99])
def test_what_may_not_be_reported(reported: int) -> None:
    with pytest.raises(IllegalTransition, match="cannot be reported"):
        event_of_report(int(reported), verified=True, item="x")


def test_nothing_is_available_without_a_full_read() -> None:
    with pytest.raises(IllegalTransition, match="without a verify_time"):
        event_of_report(S.AVAILABLE.value, verified=False, item="x")
