"""Errors on the wire and back."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from librarian.errors import BY_REASON, InvalidInput, LibrarianError, NameTaken, StoreFull, Unavailable
from librarian.rpc import error_from_rpc
from svckit.status import code_of, cut, hidden, trailers_of


def over_the_wire(error: LibrarianError) -> LibrarianError:
    message, trailers = trailers_of(error)
    return error_from_rpc(AioRpcError(code_of(error), Metadata(), Metadata(*trailers), message))


def details_of(error: LibrarianError) -> list[str]:
    _, ((_, data),) = trailers_of(error)
    return [detail.TypeName() for detail in status_pb2.Status.FromString(data).details]


@pytest.mark.parametrize("reason", sorted(BY_REASON))
def test_every_error_comes_back_as_itself(reason: str) -> None:
    error = BY_REASON[reason]("what happened", remedy="do this", name="a/b")
    again = over_the_wire(error)
    assert type(again) is type(error)
    assert (again.message, again.remedy, again.metadata) == ("what happened", "do this", {"name": "a/b"})


def test_the_default_remedy_travels() -> None:
    assert over_the_wire(StoreFull("full")).remedy == StoreFull.default_remedy


def test_all_of_it_fits_into_the_trailers_clients_accept() -> None:
    # ASCII keeps its size; ü doubles as UTF-8, then triples as percent-encoding.
    for letter in ("x", "ü", "\U0001f52d"):
        error = NameTaken(letter * 5000, remedy=letter * 5000, name=letter * 5000, path=letter * 5000)
        message, trailers = trailers_of(error)
        encoded = sum(3 if byte > 0x7E else 1 for byte in message.encode())
        assert encoded + sum(len(value) for _, value in trailers) * 4 / 3 < 8000
        again = over_the_wire(error)
        assert again.message.endswith("…")
        assert again.remedy.startswith(letter)


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    assert over_the_wire(NameTaken("bad \udcff name", name="\udcff")).message == "bad ? name"


def test_details_where_they_fit() -> None:
    assert details_of(NameTaken("x")) == ["google.rpc.ErrorInfo"]
    assert details_of(InvalidInput("x", field="page_size")) == [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
    ]
    assert details_of(Unavailable("x")) == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]


def test_the_domain_is_ours() -> None:
    _, ((key, data),) = trailers_of(NameTaken("x"))
    assert key == "grpc-status-details-bin"
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(data).details[0].Unpack(info)
    assert (info.domain, info.reason) == ("librarian", "NAME_TAKEN")


def test_a_bug_shows_its_id_only() -> None:
    error = hidden("e-1")
    assert code_of(error) is grpc.StatusCode.INTERNAL
    assert error.metadata == {"error_id": "e-1"}


@pytest.mark.parametrize("limit", range(3, 12))
def test_cut_keeps_to_bytes(limit: int) -> None:
    assert len(cut("aüaüaüaü", limit).encode()) <= limit
    assert cut("abc", 3) == "abc"
