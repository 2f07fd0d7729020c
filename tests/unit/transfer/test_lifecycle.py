"""Every pair of state and event, and what the table promises as a whole."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import IllegalTransition
from transfer_svc.lifecycle import FINAL, INGEST, IngestEvent, IngestState

S, E = IngestState, IngestEvent
LEGAL = {
    (S.OPEN, E.COMMIT, S.COMMITTING),
    (S.OPEN, E.ABORT, S.ABORTED),
    (S.OPEN, E.EXPIRE, S.EXPIRED),
    (S.COMMITTING, E.STORE, S.STORED),
    (S.COMMITTING, E.FIND, S.PUBLISHED),
    (S.COMMITTING, E.FAIL, S.FAILED),
    (S.STORED, E.PUBLISH, S.PUBLISHED),
    (S.STORED, E.FAIL, S.FAILED),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)))
def test_every_pair(state: S, event: E) -> None:
    legal = {after for before, name, after in LEGAL if (before, name) == (state, event)}
    if legal:
        assert {INGEST.move(state, event)} == legal
    else:
        with pytest.raises(IllegalTransition):
            INGEST.move(state, event, item="satp3/obs/1")


def test_numbers_are_the_protos() -> None:
    for state in S:
        assert transfer_pb2.IngestState.Name(state) == f"INGEST_STATE_{state.name}"


def test_final_states() -> None:
    assert {S.PUBLISHED, S.ABORTED, S.EXPIRED, S.FAILED} == FINAL


def test_every_event_has_its_sentence() -> None:
    assert set(INGEST.why) == set(E)


@settings(deadline=None)
@given(st.lists(st.sampled_from(E), max_size=12))
def test_published_only_after_the_bytes_are_somewhere_durable(events: list[E]) -> None:
    """No run of events reaches PUBLISHED but by STORED, or by a dataset that was there already."""
    state, seen = S.OPEN, []
    for event in events:
        if INGEST.allows(state, event):
            state = INGEST.move(state, event)
            seen.append((event, state))
    if state is S.PUBLISHED:
        assert [s for _, s in seen[:-1]] in ([S.COMMITTING, S.STORED], [S.COMMITTING])
        assert seen[-1][0] is (E.PUBLISH if len(seen) == 3 else E.FIND)
