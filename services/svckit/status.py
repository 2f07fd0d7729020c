"""The one table from errors to what goes over the wire: google.rpc.Status with one ErrorInfo."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from librarian.errors import Code, InternalError, InvalidInput, LibrarianError, Unavailable

DOMAIN = "librarian"
DETAILS_KEY = "grpc-status-details-bin"
# All of it travels in HTTP/2 trailers, which peers cap at 8 KiB and up.
_MESSAGE_CHARS = 1000
_VALUE_CHARS = 1000
_METADATA_CHARS = 3000
_RETRY_AFTER = Duration(seconds=1)

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: LibrarianError) -> grpc.StatusCode:
    return _STATUS_CODES[error.code.value]


def trailers_of(error: LibrarianError) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """The message as sent (cut where over-long), and the trailing metadata that carries the details."""
    message = _cut(error.message, _MESSAGE_CHARS)
    status = status_pb2.Status(code=error.code.value, message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    )
    field = error.metadata.get("field")
    if isinstance(error, InvalidInput) and field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Unavailable):
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=_RETRY_AFTER))
    return message, ((DETAILS_KEY, status.SerializeToString()),)


def hidden(error_id: str) -> InternalError:
    """What a caller learns of a bug: nothing but where to look it up."""
    return InternalError(f"internal error {error_id}", error_id=error_id)


def is_our_fault(code: grpc.StatusCode) -> bool:
    return code.value[0] in {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS, Code.UNAVAILABLE}


def _metadata(error: LibrarianError) -> dict[str, str]:
    sent: dict[str, str] = {}
    room = _METADATA_CHARS
    for key, value in {"remedy": error.remedy, **error.metadata}.items():
        text = _cut(value, min(_VALUE_CHARS, room))
        if text:
            sent[key] = text
            room -= len(text)
    return sent


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"
