"""The one table from errors to what goes over the wire: google.rpc.Status with one ErrorInfo."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from librarian.errors import Code, InternalError, InvalidInput, LibrarianError, Unavailable

DOMAIN = "librarian"
DETAILS_KEY = "grpc-status-details-bin"
# All of it travels in HTTP/2 trailers, for which clients have 8 KiB unless told otherwise; on the way the
# message grows up to threefold (percent-encoding) and the details by a third (base64).
_MESSAGE_BYTES = 800
_DESCRIPTION_BYTES = 200
_METADATA_BYTES = 2400
_RETRY_AFTER = Duration(seconds=1)

_OURS = {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: LibrarianError) -> grpc.StatusCode:
    return _STATUS_CODES[error.code.value]


def trailers_of(error: LibrarianError) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """The message as sent (cut where over-long), and the trailing metadata that carries the details."""
    message = cut(error.message, _MESSAGE_BYTES)
    status = status_pb2.Status(code=error.code.value, message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    )
    field = error.metadata.get("field")
    if isinstance(error, InvalidInput) and field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=cut(message, _DESCRIPTION_BYTES)
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Unavailable):
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=_RETRY_AFTER))
    return message, ((DETAILS_KEY, status.SerializeToString()),)


def hidden(error_id: str) -> InternalError:
    """What a caller learns of a bug: nothing but where to look it up."""
    return InternalError(f"internal error {error_id}", error_id=error_id)


def is_our_fault(error: LibrarianError) -> bool:
    """Whether people who run the site should look at it; other errors are the caller's to mend."""
    return error.code in _OURS


def cut(text: str, limit: int) -> str:
    """`text` within `limit` bytes of UTF-8, with an ellipsis where something is missing, and `?` for what
    UTF-8 cannot say (undecodable file names).
    """
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: max(limit - 3, 0)].decode(errors="ignore") + "…"


def _metadata(error: LibrarianError) -> dict[str, str]:
    sent: dict[str, str] = {}
    room = _METADATA_BYTES
    for key, value in {"remedy": error.remedy, **error.metadata}.items():
        room -= len(key)
        if value and room > 0:
            sent[key] = cut(value, room)
            room -= len(sent[key].encode())
    return sent
