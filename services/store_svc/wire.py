"""The two messages that carry bytes, on the wire: read and written with one copy of the bytes less than
the generated classes make. What looks otherwise than the usual is left to those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc

from librarian.api.store.v1 import store_pb2 as pb
from store_svc.reading import Piece

_VARINT: Final = 0
_LENGTH: Final = 2
_FIELDS: Final = {field.number: field.name for field in pb.WriteUploadRequest.DESCRIPTOR.fields}
_LENGTHS: Final = frozenset({"upload_id", "path", "data", "link_target"})
_LIMITS: Final = {
    "kind": 1 << 31,
    "offset": 1 << 64,
    "crc32c": 1 << 32,
    "mode": 1 << 32,
    "mtime_ns": 1 << 64,
    "last": 2,
}


class _Unusual(Exception):
    """For the generated classes to judge."""


@dataclass(slots=True)
class WriteMessage:
    """As WriteUploadRequest."""

    upload_id: str = ""
    path: str = ""
    kind: int = 0
    offset: int = 0
    data: bytes = b""
    crc32c: int = 0
    mode: int = 0
    mtime_ns: int = 0
    link_target: str = ""
    last: bool = False


def write_message(raw: bytes) -> WriteMessage | pb.WriteUploadRequest:
    """Deserialises a WriteUploadRequest. Raises DecodeError."""
    try:
        return _by_hand(raw)
    except (IndexError, KeyError, UnicodeDecodeError, _Unusual):
        return pb.WriteUploadRequest.FromString(raw)


def _by_hand(raw: bytes) -> WriteMessage:
    message = WriteMessage()
    at, end = 0, len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        name, form = _FIELDS[tag >> 3], tag & 7
        value, at = _varint(raw, at)
        if form == _LENGTH and name in _LENGTHS and at + value <= end:
            content = raw[at : at + value]
            at += value
            setattr(message, name, content if name == "data" else content.decode())
        elif form == _VARINT and value < _LIMITS.get(name, 0):
            setattr(message, name, value - (1 << 64) if value >= 1 << 63 else value)
        else:
            raise _Unusual
    message.last = bool(message.last)
    return message


def read_message(piece: Piece) -> bytes:
    """A serialised ReadDatasetResponse; its data comes last, which is as good an order as any."""
    head = pb.ReadDatasetResponse(
        range=piece.range_index, offset=piece.offset, crc32c=piece.crc32c, last=piece.last
    ).SerializeToString()
    data = piece.data
    if not data:
        return head
    return b"".join((head, _DATA_TAG, _encoded(len(data)), data))


_DATA_TAG: Final = bytes([pb.ReadDatasetResponse.DESCRIPTOR.fields_by_name["data"].number << 3 | _LENGTH])


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that starts there, and where the next thing starts."""
    byte = raw[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7


def _encoded(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def lean(server: Any) -> Any:
    """Stands in for the server while the servicer is added, and gives both methods these codecs."""
    return _LeanServer(server)


class _LeanServer:
    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """The generated code registers the same methods by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        leaner = dict(handlers)
        if "WriteUpload" in handlers:
            leaner["WriteUpload"] = grpc.stream_unary_rpc_method_handler(
                handlers["WriteUpload"].stream_unary,
                write_message,
                handlers["WriteUpload"].response_serializer,
            )
        if "ReadDataset" in handlers:
            leaner["ReadDataset"] = grpc.unary_stream_rpc_method_handler(
                handlers["ReadDataset"].unary_stream,
                handlers["ReadDataset"].request_deserializer,
                read_message,
            )
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, leaner)])
        self._server.add_registered_method_handlers(service, leaner)
