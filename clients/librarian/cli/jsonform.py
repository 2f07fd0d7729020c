"""Protocol messages as the JSON that scripts read: the protos' field names, int64 as numbers, defaults
included, checksums as `sha256:hex`, times as RFC 3339 in UTC, what is absent as null.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from librarian.api.common.v1 import common_pb2
from librarian.messages import datetime_of

_CHECKSUM = common_pb2.Checksum.DESCRIPTOR.full_name
_TIMESTAMP = "google.protobuf.Timestamp"


def message_value(message: Message) -> Any:
    """A JSON value; an object but for checksums and times."""
    name = message.DESCRIPTOR.full_name
    if name == _CHECKSUM:
        algorithm, value = getattr(message, "algorithm", ""), getattr(message, "value", b"")
        return f"{algorithm}:{value.hex()}" if algorithm else None
    if name == _TIMESTAMP:
        return datetime_of(message).isoformat().replace("+00:00", "Z")  # type: ignore[arg-type]
    fields: Iterable[Any] = message.DESCRIPTOR.fields
    return {field.name: _field_value(message, field) for field in fields}


def _field_value(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(field, one) for one in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return message_value(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return value
