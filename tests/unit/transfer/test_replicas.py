from __future__ import annotations

import itertools

from librarian.api.common.v1 import common_pb2
from transfer_svc.replicas import MAX_REASON_CHARACTERS, Finding, Next, ReplicaState, after_reading, reason_of

S = ReplicaState
FOUND = [S.AVAILABLE, S.CORRUPT, S.MISSING]


def test_a_first_mismatch_only_raises_suspicion() -> None:
    assert after_reading(S.AVAILABLE, S.CORRUPT) == Next(S.SUSPECT, again=True)
    assert after_reading(S.MISSING, S.CORRUPT) == Next(S.SUSPECT, again=True)
    assert after_reading(S.SUSPECT, S.CORRUPT) == Next(S.CORRUPT)
    assert after_reading(S.CORRUPT, S.CORRUPT) == Next(S.CORRUPT)


def test_two_reads_always_decide() -> None:
    """From wherever a copy is thought to be, corrupt means two mismatches in a row, or one of a suspect."""
    known = [S.AVAILABLE, S.SUSPECT, S.CORRUPT, S.MISSING]
    for start, first, second in itertools.product(known, FOUND, FOUND):
        step = after_reading(start, first)
        assert step.again == (step.record is S.SUSPECT)
        if step.again:
            assert after_reading(step.record, second) == Next(second)
        else:
            assert step.record is first


def test_the_reason_names_the_first_member_and_counts_the_rest() -> None:
    assert reason_of("n", [], 0) == ""
    assert reason_of("n", [Finding("a/b", "CHANGED", "/r/n/a/b")], 1) == "CHANGED: a/b at /r/n/a/b"
    assert reason_of("n", [Finding("", "MISSING", "/r/n")], 3) == "MISSING: n at /r/n, and 2 more"
    assert "\n" not in reason_of("n", [Finding("a\nb", "CHANGED", "/r")], 1)
    assert len(reason_of("n", [Finding("x" * 5000, "CHANGED", "y" * 5000)], 1)) <= MAX_REASON_CHARACTERS


def test_numbers_are_the_protos() -> None:
    for state in S:
        assert common_pb2.ReplicaState.Name(state) == f"REPLICA_STATE_{state.name}"
