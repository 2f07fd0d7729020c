from __future__ import annotations

import itertools

import pytest

from librarian import errors
from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from transfer_svc.lifecycle import INGEST, IngestEvent, IngestState
from transfer_svc.outcomes import (
    Bytes,
    Decision,
    LiveDataset,
    PublishOutcome,
    Step,
    UploadState,
    after_adopting,
    after_asking,
    after_commit,
    after_publish,
    after_rereading,
    is_permanent,
    may_split,
)
from transfer_svc.replicas import ReplicaState

CLAIM = Bytes("sha256", b"d" * 32, 5, 1)
OTHER = Bytes("sha256", b"e" * 32, 5, 1)
HELD = errors.PathHeldByUpload("held", upload_id="u2")
TAKEN = errors.PathTaken("taken")
ALL_ERRORS = [cls("told so") for cls in errors.BY_REASON.values()]


@pytest.mark.parametrize(
    "cls",
    [
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Cancelled,
        errors.StoreDisabled,
        errors.StoreIdentity,
        errors.StoreNotFound,
        errors.StoreFull,
        errors.InternalError,
        errors.MembersIncomplete,
        errors.PathHeldByUpload,
        errors.TokenInvalid,
        errors.RoleMayNot,
        errors.LibrarianError,
    ],
)
def test_what_may_pass_keeps_the_ingest(cls: type[errors.LibrarianError]) -> None:
    assert not is_permanent(cls("now"))
    assert after_commit(UploadState.SEALED, CLAIM, None, cls("now")).step in {Step.RETRY, Step.ASK}
    assert after_publish(PublishOutcome.REFUSED, "", cls("now")).step is Step.RETRY


@pytest.mark.parametrize(
    "cls",
    [
        errors.NothingStaged,
        errors.ChecksumMismatch,
        errors.StagedFileChanged,
        errors.SpecialFile,
        errors.LinkOutside,
        errors.Unreadable,
        errors.KindMismatch,
        errors.UploadTooLarge,
        errors.NameTaken,
        errors.NameIsPrefix,
        errors.NameNormalisesAlike,
        errors.UploadNotFound,
        errors.InvalidInput,
    ],
)
def test_what_is_about_the_bytes_or_the_name_ends_it(cls: type[errors.LibrarianError]) -> None:
    error = cls("for good")
    assert is_permanent(error)
    decision = after_commit(UploadState.UNSPECIFIED, CLAIM, None, error)
    assert (decision.step, decision.event, decision.error) == (Step.MOVE, IngestEvent.FAIL, error)


def test_the_store_can_say_anything() -> None:
    """Every answer leads somewhere legal, and only a committed upload counts as stored."""
    for state, error in itertools.product(UploadState, [None, *ALL_ERRORS]):
        decision = after_commit(state, CLAIM, CLAIM, error)
        if decision.step is Step.MOVE:
            assert decision.event is not None
            INGEST.move(IngestState.COMMITTING, decision.event)
        held = state in {UploadState.COMMITTED, UploadState.CONFIRMED}
        assert (decision.event is IngestEvent.STORE) == held, (state, error)
        if decision.event is IngestEvent.FAIL or decision.step in {Step.RETRY, Step.ASK}:
            assert decision.error is not None


@pytest.mark.parametrize("state", [UploadState.OPEN, UploadState.SEALED, UploadState.VERIFIED])
def test_still_at_it(state: UploadState) -> None:
    assert after_commit(state, CLAIM, None, None).step is Step.WAIT


def test_a_store_that_holds_other_bytes_than_claimed_is_not_believed() -> None:
    decision = after_commit(UploadState.COMMITTED, CLAIM, OTHER, None)
    assert decision.event is IngestEvent.FAIL
    assert isinstance(decision.error, errors.ChecksumMismatch)


@pytest.mark.parametrize("error", [HELD, TAKEN])
def test_a_taken_path_is_a_question_for_the_catalogue(error: errors.LibrarianError) -> None:
    assert after_commit(UploadState.FAILED, CLAIM, None, error).step is Step.ASK


def test_after_asking() -> None:
    def ask(
        kind: int, live: LiveDataset | None, error: errors.LibrarianError, *, hope: bool = True
    ) -> Decision:
        return after_asking("n", kind, CLAIM, live, error, may_be_published=hope)

    same = LiveDataset("u9", 1, "sha256", CLAIM.digest)
    found = ask(1, same, TAKEN)
    assert (found.event, found.dataset_uid) == (IngestEvent.FIND, "u9")
    assert isinstance(ask(2, same, HELD).error, errors.NameTaken)
    other = LiveDataset("u9", 1, "sha256", OTHER.digest)
    assert isinstance(ask(1, other, TAKEN).error, errors.NameTaken)
    assert ask(1, None, HELD).step is Step.RETRY
    assert isinstance(ask(1, None, HELD, hope=False).error, errors.PathTaken)
    nobody = ask(1, None, TAKEN)
    assert (nobody.event, nobody.error) == (IngestEvent.FAIL, TAKEN)


def test_what_lies_at_the_place_of_a_dataset_from_elsewhere_may_be_it() -> None:
    def ask(live: LiveDataset | None, error: errors.LibrarianError) -> Decision:
        return after_asking("n", 1, CLAIM, live, error, may_be_published=True, target_uid="u1", store="tape")

    mine = LiveDataset("u1", 1, "sha256", CLAIM.digest, frozenset({"fast"}))
    for nobody in (None, mine):
        assert ask(nobody, TAKEN).step is Step.ADOPT
    here = LiveDataset("u1", 1, "sha256", CLAIM.digest, frozenset({"tape"}))
    others = LiveDataset("u9", 1, "sha256", CLAIM.digest, frozenset({"fast"}))
    for known in (here, others):
        assert ask(known, TAKEN).event is IngestEvent.FIND
    assert ask(None, HELD).step is Step.RETRY


def test_after_adopting() -> None:
    assert after_adopting("n", "u1", CLAIM, ("u1", CLAIM), None).event is IngestEvent.STORE
    mismatch = errors.ChecksumMismatch("something else")
    for found, error in ((("u1", OTHER), None), (("u9", CLAIM), None), (None, mismatch)):
        assert isinstance(after_adopting("n", "u1", CLAIM, found, error).error, errors.PathTaken)
    gone = after_adopting("n", "u1", CLAIM, None, errors.PathNotFound("gone"))
    assert (gone.event, type(gone.error)) == (IngestEvent.FAIL, errors.Unavailable)
    for passing in (None, errors.Unavailable("down"), errors.UploadActive("busy"), HELD):
        assert after_adopting("n", "u1", CLAIM, None, passing).step is Step.RETRY


def test_after_rereading() -> None:
    assert after_rereading("n", ReplicaState.AVAILABLE, None) is None
    for state in (ReplicaState.CORRUPT, ReplicaState.MISSING):
        decision = after_rereading("n", state, None)
        assert decision is not None
        assert isinstance(decision.error, errors.PathTaken)
    unsure = after_rereading("n", ReplicaState.UNSPECIFIED, errors.Unavailable("down"))
    assert unsure is not None
    assert unsure.step is Step.RETRY


def test_the_catalogue_can_say_anything() -> None:
    for outcome, error in itertools.product(PublishOutcome, [None, *ALL_ERRORS]):
        decision = after_publish(outcome, "u9", error)
        published = outcome in {PublishOutcome.PUBLISHED, PublishOutcome.ALREADY_THERE}
        assert (decision.event is IngestEvent.PUBLISH) == published, (outcome, error)
        if decision.step is Step.MOVE:
            assert decision.event is not None
            INGEST.move(IngestState.STORED, decision.event)


def test_only_a_batch_can_be_halved() -> None:
    assert may_split(errors.InvalidInput("one of them"), 2)
    assert may_split(errors.Exhausted("message too large"), 2)
    assert not may_split(errors.InvalidInput("this one"), 1)
    assert not may_split(errors.Unavailable("down"), 500)


def test_numbers_are_the_protos() -> None:
    for state in UploadState:
        assert store_pb2.UploadState.Name(state) == f"UPLOAD_STATE_{state.name}"
    for outcome in PublishOutcome:
        assert catalog_pb2.PublishOutcome.Name(outcome) == f"PUBLISH_OUTCOME_{outcome.name}"
