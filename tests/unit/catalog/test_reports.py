"""What reports make of a copy."""

from __future__ import annotations

import pytest

from catalog_svc import eventtypes
from catalog_svc.lifecycle import ReplicaEvent, ReplicaState
from catalog_svc.reports import Copy, Report, added, after
from librarian.errors import IllegalTransition, ReplicaNotFound

KEY = ("0190a6c8-0000-7000-8000-000000000001", "main")
WELL = Copy(ReplicaState.AVAILABLE, verified_us=100)


def report(event: ReplicaEvent, *, reason: str = "", verified_us: int | None = None) -> Report:
    return Report(KEY, event, reason, verified_us)


def test_a_flipped_bit_is_doubted_then_condemned() -> None:
    copy, first = after(WELL, report(ReplicaEvent.DOUBTED, reason="a/b differs"))
    assert copy == Copy(ReplicaState.SUSPECT, "a/b differs", 100)
    copy, second = after(copy, report(ReplicaEvent.CONDEMNED, reason="a/b differs again"))
    assert copy.state is ReplicaState.CORRUPT
    assert first is not None
    assert second is not None
    assert [(each.before, each.after) for each in (first, second)] == [
        (ReplicaState.AVAILABLE, ReplicaState.SUSPECT),
        (ReplicaState.SUSPECT, ReplicaState.CORRUPT),
    ]
    assert second.reason == "a/b differs again"


def test_it_is_not_condemned_at_once() -> None:
    with pytest.raises(IllegalTransition, match=f"{KEY[0]} on main"):
        after(WELL, report(ReplicaEvent.CONDEMNED))


def test_a_full_read_clears_the_reason() -> None:
    copy, happening = after(
        Copy(ReplicaState.SUSPECT, "odd", 100), report(ReplicaEvent.VERIFIED, verified_us=200)
    )
    assert copy == Copy(ReplicaState.AVAILABLE, "", 200)
    assert happening is not None
    assert happening.type == eventtypes.REPLICA_STATE_CHANGED


def test_a_full_read_of_what_is_well_is_logged_as_such() -> None:
    copy, happening = after(WELL, report(ReplicaEvent.VERIFIED, verified_us=200))
    assert copy.verified_us == 200
    assert happening is not None
    assert happening.type == eventtypes.REPLICA_VERIFIED


def test_an_older_read_does_not_turn_time_back() -> None:
    assert after(WELL, report(ReplicaEvent.VERIFIED, verified_us=50)) == (WELL, None)


def test_saying_it_again_changes_nothing() -> None:
    lost = Copy(ReplicaState.MISSING, "gone", 100)
    assert after(lost, report(ReplicaEvent.LOST, reason="gone")) == (lost, None)


def test_another_reason_is_news() -> None:
    suspect = Copy(ReplicaState.SUSPECT, "odd", 100)
    copy, happening = after(suspect, report(ReplicaEvent.DOUBTED, reason="odder"))
    assert copy.reason == "odder"
    assert happening is not None


def test_adopting_what_is_well_is_no_news() -> None:
    assert after(WELL, report(ReplicaEvent.ADOPTED, verified_us=200)) == (WELL, None)


def test_adopting_brings_a_removed_copy_back() -> None:
    copy, happening = after(
        Copy(ReplicaState.REMOVED, "", 100), report(ReplicaEvent.ADOPTED, verified_us=200)
    )
    assert copy == Copy(ReplicaState.AVAILABLE, "", 200)
    assert happening is not None


def test_only_a_full_read_makes_a_copy_known() -> None:
    with pytest.raises(ReplicaNotFound):
        after(None, report(ReplicaEvent.LOST))
    copy, happening = added(report(ReplicaEvent.VERIFIED, verified_us=7))
    assert copy == Copy(ReplicaState.AVAILABLE, "", 7)
    assert (happening.before, happening.type) == (None, eventtypes.REPLICA_ADDED)
