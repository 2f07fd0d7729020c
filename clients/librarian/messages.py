"""Protocol messages to values and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from librarian.api.common.v1 import common_pb2 as pb
from librarian.checksums import Checksum
from librarian.errors import InternalError, InvalidInput, LibrarianError, make_error
from librarian.manifests import Member, MemberKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def checksum_to_proto(checksum: Checksum) -> pb.Checksum:
    return pb.Checksum(algorithm=checksum.algorithm, value=checksum.value)


def checksum_from_proto(message: pb.Checksum) -> Checksum:
    """Raises AlgorithmNotAllowed, InvalidInput."""
    return Checksum(message.algorithm, message.value).checked()


def member_to_proto(member: Member) -> pb.Member:
    message = pb.Member(
        path=member.path,
        kind=pb.MemberKind.ValueType(member.kind),
        size_bytes=member.size_bytes,
        link_target=member.link_target,
        mode=member.mode,
        mtime_ns=member.mtime_ns,
    )
    if member.checksum is not None:
        message.checksum.algorithm = member.checksum.algorithm
        message.checksum.value = member.checksum.value
    return message


def member_from_proto(message: pb.Member) -> Member:
    """Raises AlgorithmNotAllowed, InvalidInput. Paths and links are `check_members`'s to judge."""
    try:
        kind = MemberKind(message.kind)
    except ValueError:
        raise InvalidInput(f"the entry {message.path!r} is of an unknown kind", path=message.path) from None
    return Member(
        path=message.path,
        kind=kind,
        size_bytes=message.size_bytes,
        checksum=checksum_from_proto(message.checksum) if message.HasField("checksum") else None,
        link_target=message.link_target,
        mode=message.mode,
        mtime_ns=message.mtime_ns,
    )


def timestamp(moment: datetime) -> Timestamp:
    """Of a time with a zone, to the microsecond."""
    return timestamp_of_microseconds(microseconds(moment))


def timestamp_of_microseconds(since_epoch: int) -> Timestamp:
    seconds, rest = divmod(since_epoch, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def datetime_of(message: Timestamp) -> datetime:
    """In UTC, to the microsecond. Raises InvalidInput for times no datetime can hold."""
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise InvalidInput(f"{message.seconds} s since 1970 is not a time that can be kept") from None


def microseconds(moment: datetime) -> int:
    """Since 1970-01-01T00:00:00Z, of a time with a zone."""
    return (moment - _EPOCH) // _MICROSECOND


def item_error(error: BaseException) -> pb.ItemError:
    """What a batch tells of one item. Of an error that is not ours nothing is told but that it was."""
    if not isinstance(error, LibrarianError):
        error = InternalError("this item met an unexpected error")
    metadata = dict(error.metadata)
    if error.remedy:
        metadata["remedy"] = error.remedy
    return pb.ItemError(
        code=error.code,
        reason=metadata.pop("reason", error.reason),
        message=error.message,
        metadata=metadata,
    )


def error_of(message: pb.ItemError) -> LibrarianError:
    """The error an item was refused with, to be raised or shown."""
    return make_error(message.code, message.reason, message.message, dict(message.metadata))
