"""Messages as scripts read them."""

from __future__ import annotations

import json

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.exits import ExitCode, as_our_error, error_text, error_value, exit_code_of
from librarian.cli.jsonform import message_value
from librarian.errors import BY_REASON, DataLoss, LibrarianError, NameTaken, Unavailable, make_error


def test_a_dataset() -> None:
    dataset = catalog_pb2.Dataset(
        uid="u",
        name="a/b",
        kind=common_pb2.DATASET_KIND_DIRECTORY,
        digest=common_pb2.Checksum(algorithm="sha256", value=b"\x01" * 32),
        size_bytes=2**53 + 1,
        tags={"k": "v"},
        replicas=[catalog_pb2.Replica(store="main", state=common_pb2.REPLICA_STATE_AVAILABLE)],
        origin=common_pb2.Signed(type="t", payload=b"\xff"),
    )
    dataset.create_time.FromJsonString("2026-11-22T15:04:05.123456Z")
    value = message_value(dataset)
    assert list(value) == [field.name for field in catalog_pb2.Dataset.DESCRIPTOR.fields]
    assert value["digest"] == "sha256:" + "01" * 32
    assert value["size_bytes"] == 2**53 + 1
    assert value["kind"] == "DATASET_KIND_DIRECTORY"
    assert value["create_time"] == "2026-11-22T15:04:05.123456Z"
    assert value["publish_time"] is None
    assert value["member_count"] == 0
    assert value["tags"] == {"k": "v"}
    assert value["replicas"][0]["state_reason"] == ""
    assert value["origin"]["payload"] == "/w=="
    assert json.loads(json.dumps(value)) == value


def test_defaults_and_absence() -> None:
    value = message_value(catalog_pb2.DatasetFilter())
    assert value["min_size_bytes"] is None
    assert value["tags"] == {}
    store = message_value(store_pb2.Store())
    assert store["usage"] is None
    assert store["enabled"] is False
    ingest = message_value(transfer_pb2.Ingest(digest=common_pb2.Checksum()))
    assert ingest["digest"] is None


def test_a_state_newer_than_this_program() -> None:
    replica = catalog_pb2.Replica()
    replica.MergeFromString(b"\x10\x63")
    assert message_value(replica)["state"] == 99


def test_errors_as_json() -> None:
    error = NameTaken("a is taken", name="a")
    assert error_value(error) == {
        "reason": "NAME_TAKEN",
        "message": "a is taken",
        "remedy": NameTaken.default_remedy,
        "metadata": {"name": "a"},
    }
    assert json.loads(error_text(error, as_json=True)) == error_value(error)
    unknown = make_error(9, "NOT_INVENTED_YET", "what?", {"x": "y"})
    assert error_value(unknown)["reason"] == "NOT_INVENTED_YET"
    assert error_value(unknown)["metadata"] == {"x": "y"}


def test_errors_for_people() -> None:
    assert error_text(LibrarianError("so"), as_json=False) == "error: so"
    text = error_text(NameTaken("a is taken"), as_json=False)
    assert text == f"error: a is taken\n  what to do: {NameTaken.default_remedy}"


def test_exit_codes() -> None:
    assert exit_code_of(Unavailable("x")) is ExitCode.UNREACHABLE
    assert exit_code_of(DataLoss("x")) is ExitCode.DATA_LOSS
    for reason in ("CHECKSUM_MISMATCH", "REPLICA_CORRUPT", "READ_FAILED"):
        assert exit_code_of(BY_REASON[reason]("x")) is ExitCode.DATA_LOSS
    for reason in ("NAME_TAKEN", "DATASET_NOT_FOUND", "ROLE_MAY_NOT", "TOKEN_MISSING", "INVALID_NAME"):
        assert exit_code_of(BY_REASON[reason]("x")) is ExitCode.FAILED


def test_what_is_not_ours_becomes_an_error_with_a_remedy() -> None:
    missing = as_our_error(FileNotFoundError(2, "No such file", "/data/x"))
    assert missing.message == "/data/x: No such file"
    bug = as_our_error(KeyError("x"))
    assert "report it" in bug.remedy
    assert exit_code_of(bug) is ExitCode.FAILED
