"""What is read and written by hand is what the generated classes say."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from librarian.api.store.v1 import store_pb2 as pb
from store_svc.reading import Piece
from store_svc.wire import WriteMessage, read_message, write_message

NAMES = [field.name for field in pb.WriteUploadRequest.DESCRIPTOR.fields]
text = st.text(st.characters(exclude_categories=["Cs"]))
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
uint32 = st.integers(0, (1 << 32) - 1)
requests = st.builds(
    pb.WriteUploadRequest,
    upload_id=text,
    path=text,
    kind=st.sampled_from([0, 1, 2, 3]),
    offset=int64,
    data=st.binary(max_size=300),
    crc32c=uint32,
    mode=uint32,
    mtime_ns=int64,
    link_target=text,
    last=st.booleans(),
)


def _fields(message: Any) -> dict[str, object]:
    return {name: getattr(message, name) for name in NAMES}


@given(requests)
def test_requests(request: pb.WriteUploadRequest) -> None:
    found = write_message(request.SerializeToString())
    assert isinstance(found, WriteMessage)
    assert _fields(found) == _fields(request)


@given(requests, requests, st.data())
def test_any_bytes_mean_the_same(
    one: pb.WriteUploadRequest, two: pb.WriteUploadRequest, data: st.DataObject
) -> None:
    raw = bytearray(one.SerializeToString() + two.SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    expected: pb.WriteUploadRequest | None = None
    with contextlib.suppress(DecodeError):
        expected = pb.WriteUploadRequest.FromString(bytes(raw))
    if expected is None:
        with pytest.raises(DecodeError):
            write_message(bytes(raw))
    else:
        found = write_message(bytes(raw))
        assert _fields(found) == _fields(expected)


@given(st.integers(0, 1000), st.integers(0, 1 << 60), st.binary(max_size=70_000), uint32, st.booleans())
def test_answers(index: int, offset: int, data: bytes, crc: int, last: bool) -> None:  # noqa: FBT001 - drawn
    expected = pb.ReadDatasetResponse(range=index, offset=offset, data=data, crc32c=crc, last=last)
    assert pb.ReadDatasetResponse.FromString(read_message(Piece(index, offset, data, crc, last))) == expected
