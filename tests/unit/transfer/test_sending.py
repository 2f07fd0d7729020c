"""What decides about transfers: the lifecycle, reconciliation, troubles, matching, ranks, rates, telling."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian import errors
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import LibrarianError
from transfer_svc.receiving.lifecycle import DeliveryState
from transfer_svc.sending import rules, telling
from transfer_svc.sending.lifecycle import ARRIVED, BATCHED, TRANSFER, TransferEvent, TransferState
from transfer_svc.sending.matching import Subject, mismatch, obstacle
from transfer_svc.sending.ranking import HIGHEST, LOWEST, rank
from transfer_svc.sending.rates import Rate
from transfer_svc.sending.reconciling import Decision, reconcile
from transfer_svc.sending.telling import Standing, Way
from transfer_svc.sending.troubles import LATER, Trouble, consequence, trouble_of
from transfer_svc.sending.values import BackfillState, DestinationKind, Route, Transfer

S, D, E = TransferState, DeliveryState, TransferEvent
NOW = datetime(2026, 5, 1, tzinfo=UTC)
CLEAR = Way()
ROUTE = Route(
    "r", "there", 1, "obs/**", '{"kind":"map","stage":""}', "stream", 0, 2000, 0, "", "", False, NOW, 0, "", 0
)
SUBJECT = Subject("u", "obs/1", 1, 5, {"kind": "map", "stage": "raw"}, NOW, ["fast"], [])
TRANSFER_ROW = Transfer(
    "t", "r", "u", "obs/1", 1, 5, "there", 1, "stream", 2, 0, None, "", 0, 0, 0, NOW, NOW, NOW, None, ""
)

# What each answer of the receiver means, by this side's state. None: it knows nothing.
BEGUN = {
    None: Decision.OFFER,
    D.ACCEPTED: Decision.MOVE,
    D.ARRIVING: Decision.MOVE,
    D.DELIVERED: Decision.CONFIRM,
    D.VERIFYING: Decision.CONFIRM,
    D.RECEIPTED: Decision.TAKE,
    D.REFUSED: Decision.MEND,
    D.FAILED: Decision.MEND,
    D.EXPIRED: Decision.AGAIN,
}
TOLD = BEGUN | {
    D.ACCEPTED: Decision.DELIVER,
    D.ARRIVING: Decision.DELIVER,
    D.DELIVERED: Decision.WAIT,
    D.VERIFYING: Decision.WAIT,
}
WAITING = dict.fromkeys((None, *D), Decision.LEAVE) | {D.RECEIPTED: Decision.TAKE}
ENDED = dict.fromkeys((None, *D), Decision.LEAVE) | dict.fromkeys((D.ACCEPTED, D.ARRIVING), Decision.WITHDRAW)
EXPECTED = {
    S.PLANNED: WAITING,
    S.QUEUED: WAITING,
    S.HELD: WAITING,
    S.OFFERED: BEGUN,
    S.MOVING: BEGUN,
    S.DELIVERED: TOLD,
    S.VERIFIED: ENDED,
    S.PRESENT: ENDED,
    S.FAILED: ENDED,
    S.CANCELLED: ENDED,
}
# The transition each decision leads to, where it leads to one at once.
MADE = {
    Decision.CONFIRM: [E.DELIVER],
    Decision.TAKE: [E.VERIFY, E.FIND],
    Decision.MEND: [E.HOLD, E.PUT_OFF],
    Decision.AGAIN: [E.PUT_OFF],
}


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product(S, (None, *D))))
def test_every_pair_of_states_is_reconciled(ours: TransferState, theirs: DeliveryState | None) -> None:
    """Expected decisions, and the transitions they ask for are legal from that very state."""
    decision = reconcile(ours, theirs)
    assert decision is EXPECTED[ours][theirs]
    if ours in BATCHED:
        assert decision not in {Decision.LEAVE, Decision.WITHDRAW}
        for event in MADE.get(decision, []):
            if not (event is E.FIND or (event is E.VERIFY and ours is S.OFFERED)):
                assert TRANSFER.allows(ours, event)
    # What is offered again may be accepted again.
    if decision is Decision.OFFER and ours is not S.MOVING:
        assert TRANSFER.allows(ours, E.ACCEPT)


def test_the_lifecycle_as_a_whole() -> None:
    for state in S:
        assert pb.TransferState.Name(state) == f"TRANSFER_STATE_{state.name}"
    assert set(TRANSFER.why) == set(E)
    assert set(ARRIVED) == {S.VERIFIED, S.PRESENT}
    assert all(TRANSFER.allows(state, E.DOUBT) for state in ARRIVED)
    assert {TRANSFER.move(state, E.RETRY) for state in (S.HELD, S.FAILED, S.CANCELLED)} == {S.QUEUED}
    for standing in Standing:
        assert pb.Standing.Name(standing) == f"STANDING_{standing.name}"


@pytest.mark.parametrize(
    ("trouble", "classes"),
    [
        (Trouble.PERMANENT, (errors.NameTaken, errors.UidTaken, errors.NameIsPrefix, errors.InvalidName)),
        (Trouble.PERMANENT, (errors.OriginInvalid, errors.KeyNotIntroduced, errors.LandingInvalid)),
        (Trouble.PERMANENT, (errors.AlgorithmNotAllowed, errors.DatasetNotFound)),
        (Trouble.SOURCE, (errors.SourceVanished, errors.SourceChanged, errors.ReadFailed)),
        (Trouble.CHECKSUM, (errors.ChecksumMismatch,)),
        (Trouble.STALE, (errors.TicketInvalid, errors.UploadClosed, errors.UploadNotFound)),
        (Trouble.TRANSIENT, (errors.StoreFull, errors.NoStore, errors.Unavailable, errors.Withdrawn)),
        (Trouble.TRANSIENT, (errors.SignatureInvalid, errors.ReceiptMismatch, errors.PeerPaused)),
        (Trouble.UNKNOWN, (errors.InternalError, errors.StaleLease)),
    ],
)
def test_troubles_by_class(trouble: Trouble, classes: tuple[type[LibrarianError], ...]) -> None:
    assert {trouble_of(cls("x")) for cls in classes} == {trouble}


def test_what_follows_from_trouble() -> None:
    held = consequence(errors.NameTaken("x"), "", 0, 0.5)
    assert (held.hold, held.suspect, held.attempt) == (True, False, 1)
    assert consequence(errors.SourceVanished("x"), "", 0, 0.5).suspect
    # What may pass is never given up, however often it came.
    full = consequence(errors.StoreFull("x"), "STORE_FULL", 1_000, 0.999)
    assert (full.hold, full.attempt) == (False, 1_001)
    assert 0 < full.delay <= LATER.ceiling
    # Another reason counts from the beginning; the same one to its limit.
    assert not consequence(errors.ChecksumMismatch("x"), "STORE_FULL", 9, 0.5).hold
    assert consequence(errors.ChecksumMismatch("x"), "CHECKSUM_MISMATCH", 2, 0.5).hold
    assert not consequence(errors.InternalError("x"), "INTERNAL", 6, 0.5).hold
    assert consequence(errors.InternalError("x"), "INTERNAL", 7, 0.5).hold


@pytest.mark.parametrize(
    ("subject", "route", "reason"),
    [
        (SUBJECT, ROUTE, ""),
        (SUBJECT, replace(ROUTE, name_glob="", tags_json=""), ""),
        (replace(SUBJECT, name="x/1"), ROUTE, "its name does not match obs/**"),
        (replace(SUBJECT, tags={"kind": "map"}), ROUTE, "it has no tag stage"),
        (replace(SUBJECT, tags={"kind": "obs", "stage": ""}), ROUTE, "its tag kind is obs, not map"),
        (
            replace(SUBJECT, publish_time=NOW - timedelta(days=1)),
            ROUTE,
            "it is older than the route, which was added without backfill",
        ),
        (
            replace(SUBJECT, publish_time=NOW - timedelta(days=1)),
            replace(ROUTE, backfill_state=BackfillState.DONE),
            "",
        ),
    ],
)
def test_which_routes_want_a_dataset(subject: Subject, route: Route, reason: str) -> None:
    assert mismatch(subject, route) == reason


def test_what_is_wanted_and_need_not_or_cannot_go() -> None:
    store = replace(ROUTE, destination="slow", destination_kind=DestinationKind.STORE)
    assert obstacle(SUBJECT, ROUTE) == obstacle(SUBJECT, store) == ""
    assert obstacle(replace(SUBJECT, sites=["there"]), ROUTE) == "it is at there already"
    # A site's name is not a store's.
    assert obstacle(replace(SUBJECT, sites=["slow"]), store) == ""
    assert "already" in obstacle(replace(SUBJECT, stores=["slow"]), store)
    assert obstacle(replace(SUBJECT, stores=[]), ROUTE) == "no copy here is well"


@given(st.integers(LOWEST, HIGHEST), st.integers(LOWEST, HIGHEST))
def test_the_urgent_overtake_and_nothing_starves(one: int, other: int) -> None:
    assert (rank(NOW, one) < rank(NOW, other)) == (one > other)
    # However low: it comes before anything planned long enough after it.
    assert rank(NOW, one) < rank(NOW + timedelta(days=51), other)


def test_rates_over_the_last_seconds() -> None:
    rate = Rate(window=10)
    assert rate.note(0, 0) == 0
    assert rate.note(1, 100) == 100
    assert rate.note(10, 1_000) == 100
    assert rate.note(20, 1_000) == 0
    assert rate.note(21, 10) == 0
    assert rate.note(22, 60) == 50


def test_telling_names_what_it_waits_for() -> None:
    def told(state: TransferState, way: Way = CLEAR, **fields: object) -> telling.Telling:
        row = replace(TRANSFER_ROW, state=int(state), **fields)  # type: ignore[arg-type]
        return telling.of_transfer(row, ROUTE, way, "STORE_FULL: no room")

    assert told(S.QUEUED).waits_for == "its turn"
    assert told(S.QUEUED, Way(paused=True)).waits_for == "the peer is paused"
    assert told(S.QUEUED, Way(unknown=True)).waits_for == "the peer is not known any more"
    broken = told(S.QUEUED, Way(broken="UNAVAILABLE: refused", next_time=NOW))
    assert (broken.waits_for, broken.next_time) == ("the link: UNAVAILABLE: refused", NOW)
    off = told(S.QUEUED, not_before=NOW, attempt_count=2)
    assert (off.summary, off.next_time) == ("tried 2 times: STORE_FULL: no room", NOW)
    standings = {state: told(state).standing for state in S}
    assert standings[S.MOVING] is standings[S.DELIVERED] is Standing.ON_ITS_WAY
    assert standings[S.HELD] is Standing.HELD
    assert standings[S.CANCELLED] is Standing.CANCELLED
    assert all(told(state).summary for state in S)
    nowhere = telling.unplanned(ROUTE.to, [], [])
    assert nowhere.standing is Standing.NO_ROUTE
    assert telling.unplanned(ROUTE.to, [ROUTE], ["no copy here is well"]).waits_for == "no copy here is well"


def test_where_routes_may_lead() -> None:
    kind = rules.destination_kind
    assert kind("there", {"there"}, {"fast"}, via="stream") is DestinationKind.PEER
    assert kind("fast", {"there"}, {"fast"}, via="posix") is DestinationKind.STORE
    for name, peers, stores in (("x", {"there"}, {"fast"}), ("both", {"both"}, {"both"})):
        with pytest.raises(errors.InvalidInput):
            kind(name, peers, stores, via="stream")
    rules.check_landing(DestinationKind.PEER, "posix", "/shared/in")
    rules.check_landing(DestinationKind.STORE, "posix", "")
    for via, landing in (("posix", "in"), ("posix", "/a/../b"), ("rsync", "/a"), ("stream", "/a")):
        with pytest.raises(errors.InvalidInput):
            rules.check_landing(DestinationKind.PEER, via, landing)
    for priority, active, rate in ((101, 0, 0), (-101, 0, 0), (0, -1, 0), (0, 0, -1)):
        with pytest.raises(errors.InvalidInput):
            rules.check_limits(priority, active, rate)
