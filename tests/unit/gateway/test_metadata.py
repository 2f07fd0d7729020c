"""What of the metadata crosses the gateway."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.metadata import has_status_details, to_client, to_service, value_of

keys = st.sampled_from(
    [
        "authorization",
        "cookie",
        "traceparent",
        "tracestate",
        "librarian-ticket",
        "librarian-store",
        "x-forwarded-for",
    ]
)
pairs = st.lists(st.tuples(keys, st.text(max_size=5)))


@given(pairs)
def test_only_the_trace_and_our_own_keys_reach_a_service(given_pairs: list[tuple[str, str]]) -> None:
    passed = to_service(given_pairs)
    assert {key for key, _ in passed} <= {"traceparent", "tracestate", "librarian-ticket", "librarian-store"}
    assert [pair for pair in given_pairs if pair in passed] == passed


def test_what_belongs_to_one_hop_does_not_reach_the_client() -> None:
    sent = (
        ("content-type", "application/grpc"),
        ("user-agent", "x"),
        ("grpc-accept-encoding", "gzip"),
        ("grpc-status-details-bin", b"\x01"),
        ("librarian-note", "kept"),
        ("other", "kept too"),
    )
    passed = to_client(sent)
    assert passed == (sent[3], sent[4], sent[5])
    assert isinstance(passed, tuple)
    assert to_client(None) == ()
    assert to_service(None) == []


def test_values_are_found_by_key() -> None:
    assert value_of([("a", "1"), ("b", "2"), ("b", "3")], "b") == "2"
    assert value_of([("a", b"1")], "a") == ""
    assert value_of(None, "a") == ""


def test_a_status_with_details_is_a_services_own() -> None:
    assert has_status_details((("grpc-status-details-bin", b""),))
    assert not has_status_details((("other", b""),))
    assert not has_status_details(None)
