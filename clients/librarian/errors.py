"""Every error Librarian raises, on both sides of the wire.

    LibrarianError
    ├── InvalidInput         INVALID_ARGUMENT      the request itself is wrong
    ├── NotFound             NOT_FOUND             no such dataset, store, ingest, ...
    ├── Conflict             ALREADY_EXISTS        the name or place is taken
    ├── Refused              FAILED_PRECONDITION   not in this state, not with these bytes
    ├── Exhausted            RESOURCE_EXHAUSTED    no room, or too much at once
    ├── DataLoss             DATA_LOSS             bytes are not what they were
    ├── Unauthenticated      UNAUTHENTICATED       who is calling is not known
    ├── Denied               PERMISSION_DENIED     who is calling may not
    ├── Unavailable          UNAVAILABLE           try again later
    ├── DeadlineExceeded     DEADLINE_EXCEEDED
    ├── Cancelled            CANCELLED
    ├── OutOfRange           OUT_OF_RANGE          a cursor or offset that is not there
    ├── Unimplemented        UNIMPLEMENTED         the other side is older and cannot do it
    └── InternalError        INTERNAL              a bug of ours

A class below these carries one `reason`, the constant that scripts and clients switch on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """google.rpc.Code, without importing it: the CLI starts faster."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class LibrarianError(Exception):
    """What happened (`message`), to which item (`metadata`), and what to do about it (`remedy`)."""

    code: ClassVar[Code] = Code.UNKNOWN
    reason: ClassVar[str] = "UNKNOWN"
    default_remedy: ClassVar[str] = ""

    def __init__(self, message: str, *, remedy: str = "", **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidInput(LibrarianError):
    code = Code.INVALID_ARGUMENT
    reason = "INVALID_INPUT"


class NotFound(LibrarianError):
    code = Code.NOT_FOUND
    reason = "NOT_FOUND"


class Conflict(LibrarianError):
    code = Code.ALREADY_EXISTS
    reason = "CONFLICT"


class Refused(LibrarianError):
    code = Code.FAILED_PRECONDITION
    reason = "REFUSED"


class Exhausted(LibrarianError):
    code = Code.RESOURCE_EXHAUSTED
    reason = "EXHAUSTED"


class DataLoss(LibrarianError):
    code = Code.DATA_LOSS
    reason = "DATA_LOSS"


class Unauthenticated(LibrarianError):
    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class Denied(LibrarianError):
    code = Code.PERMISSION_DENIED
    reason = "DENIED"


class Unavailable(LibrarianError):
    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"
    default_remedy = "try again; `librarian status` tells how the services are"


class DeadlineExceeded(LibrarianError):
    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
    default_remedy = "try again; repeating a request is safe"


class Cancelled(LibrarianError):
    code = Code.CANCELLED
    reason = "CANCELLED"


class OutOfRange(LibrarianError):
    code = Code.OUT_OF_RANGE
    reason = "OUT_OF_RANGE"


class Unimplemented(LibrarianError):
    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"
    default_remedy = "the site runs an older version, which cannot do this: update it"


class InternalError(LibrarianError):
    code = Code.INTERNAL
    reason = "INTERNAL"
    default_remedy = "this is a bug; the service's log has the details under the error id"


# --- INVALID_ARGUMENT


class InvalidName(InvalidInput):
    reason = "INVALID_NAME"
    default_remedy = "use a relative path such as satp3/obs/1718574200, without `.`, `..` or empty parts"


class InvalidSize(InvalidInput):
    reason = "INVALID_SIZE"
    default_remedy = "check the size that was declared"


class InvalidPageToken(InvalidInput):
    reason = "INVALID_PAGE_TOKEN"
    default_remedy = "start the listing again without a page token"


class InvalidGlob(InvalidInput):
    reason = "INVALID_GLOB"
    default_remedy = (
        "`*` and `?` stay inside a part of a name, `**` crosses parts, `[...]` is a class of characters"
    )


class RequestIdReused(InvalidInput):
    reason = "REQUEST_ID_REUSED"
    default_remedy = "use a new request_id for a new request"


class AlgorithmNotAllowed(InvalidInput):
    reason = "ALGORITHM_NOT_ALLOWED"
    default_remedy = "use sha256 or blake3"


class UnknownField(InvalidInput):
    reason = "UNKNOWN_FIELD"


class InvalidStore(InvalidInput):
    reason = "INVALID_STORE"
    default_remedy = "`librarian store add --help` tells what can be set, and to what"


class InvalidConfig(InvalidInput):
    reason = "INVALID_CONFIG"
    default_remedy = "correct the key named, in the configuration file or the environment"


class SignatureInvalid(InvalidInput):
    reason = "SIGNATURE_INVALID"


# --- NOT_FOUND


class DatasetNotFound(NotFound):
    reason = "DATASET_NOT_FOUND"
    default_remedy = "`librarian ls PREFIX` shows what there is"


class MemberNotFound(NotFound):
    reason = "MEMBER_NOT_FOUND"
    default_remedy = "`librarian show NAME` lists the members"


class StoreNotFound(NotFound):
    reason = "STORE_NOT_FOUND"
    default_remedy = "`librarian store ls` shows the stores"


class IngestNotFound(NotFound):
    reason = "INGEST_NOT_FOUND"
    default_remedy = "begin again: put the same path under the same name"


class UploadNotFound(NotFound):
    reason = "UPLOAD_NOT_FOUND"


class ReplicaNotFound(NotFound):
    reason = "REPLICA_NOT_FOUND"
    default_remedy = "`librarian show NAME` tells where its copies are"


class TransferNotFound(NotFound):
    reason = "TRANSFER_NOT_FOUND"
    default_remedy = "`librarian transfer ls` shows the transfers there are"


class RouteNotFound(NotFound):
    reason = "ROUTE_NOT_FOUND"
    default_remedy = "`librarian route ls` shows the routes there are"


class PeerNotFound(NotFound):
    reason = "PEER_NOT_FOUND"
    default_remedy = "`librarian peer ls` shows the peers there are"


class BatchNotFound(NotFound):
    reason = "BATCH_NOT_FOUND"
    default_remedy = "offer it again"


class TokenNotFound(NotFound):
    reason = "TOKEN_NOT_FOUND"
    default_remedy = "`librarian token ls` shows the tokens"


class PathNotFound(NotFound):
    reason = "PATH_NOT_FOUND"
    default_remedy = "check the path, and that what should be mounted there is"


class DiskNotFound(NotFound):
    reason = "DISK_NOT_FOUND"
    default_remedy = "`librarian disk ls` shows the disks this site knows"


class ShipmentNotFound(NotFound):
    reason = "SHIPMENT_NOT_FOUND"
    default_remedy = "`librarian shipment ls` shows the shipments this site knows"


class JobNotFound(NotFound):
    reason = "JOB_NOT_FOUND"


# --- ALREADY_EXISTS


class NameTaken(Conflict):
    reason = "NAME_TAKEN"
    default_remedy = "a name means one thing for ever: choose another name"


class NameIsPrefix(Conflict):
    reason = "NAME_IS_PREFIX"
    default_remedy = "choose a name that is neither inside nor around another dataset's"


class NameNormalisesAlike(Conflict):
    reason = "NAME_NORMALISES_ALIKE"
    default_remedy = "use the existing spelling, or a name that differs in more than Unicode normalisation"


class PathTaken(Conflict):
    reason = "PATH_TAKEN"
    default_remedy = (
        "something uncatalogued lies there: `librarian register` it, move it away, or use another store"
    )


class PathHeldByUpload(Conflict):
    reason = "PATH_HELD_BY_UPLOAD"


class UidTaken(Conflict):
    reason = "UID_TAKEN"
    default_remedy = "it has another name or other bytes there: compare `librarian show` at both sites"


class RouteExists(Conflict):
    reason = "ROUTE_EXISTS"
    default_remedy = "change that route, or remove it first"


class PeerExists(Conflict):
    reason = "PEER_EXISTS"
    default_remedy = "remove the peer of that name first, if its key was really lost"


class StoreExists(Conflict):
    reason = "STORE_EXISTS"
    default_remedy = "`librarian store ls` shows it; choose another name"


class StoreRootTaken(Conflict):
    reason = "STORE_ROOT_TAKEN"
    default_remedy = "choose a directory that is neither inside nor around another store's"


class DestinationExists(Conflict):
    reason = "DESTINATION_EXISTS"
    default_remedy = "give another destination, or --force to replace what is there"


# --- FAILED_PRECONDITION


class StoreDisabled(Refused):
    reason = "STORE_DISABLED"
    default_remedy = "`librarian store set NAME --enabled` turns it on"


class StoreIdentity(Refused):
    reason = "STORE_IDENTITY"
    default_remedy = "mount the right file system at the store's root; nothing is read or written until then"


class NoStore(Refused):
    reason = "NO_STORE"
    default_remedy = "`librarian store ls` says why each store takes no new data; add one or turn one on"


class UploadClosed(Refused):
    reason = "UPLOAD_CLOSED"


class UploadConfirmed(Refused):
    reason = "UPLOAD_CONFIRMED"


class UploadActive(Refused):
    reason = "UPLOAD_ACTIVE"


class IngestClosed(Refused):
    reason = "INGEST_CLOSED"
    default_remedy = "begin again: put the same path under the same name"


class NothingStaged(Refused):
    reason = "NOTHING_STAGED"
    default_remedy = "bring the bytes to the staging area before committing"


class StagedFileChanged(Refused):
    reason = "STAGED_FILE_CHANGED"
    default_remedy = "something still writes into the staging area: stop it and put again"


class SourceChanged(Refused):
    reason = "SOURCE_CHANGED"
    default_remedy = "put it again when nothing writes to it any more"


class SpecialFile(Refused):
    reason = "SPECIAL_FILE"
    default_remedy = "only regular files, directories and symbolic links can be kept: take it out of the tree"


class LinkOutside(Refused):
    reason = "LINK_OUTSIDE"
    default_remedy = "replace the link by what it points to, or take it out of the tree"


class Unreadable(Refused):
    reason = "UNREADABLE"
    default_remedy = "give read permission, or take it out of the tree"


class KindMismatch(Refused):
    reason = "KIND_MISMATCH"
    default_remedy = "a file stays a file and a directory a directory: check the path"


class IllegalTransition(Refused):
    reason = "ILLEGAL_TRANSITION"


class MembersIncomplete(Refused):
    reason = "MEMBERS_INCOMPLETE"


class SourceVanished(Refused):
    reason = "SOURCE_VANISHED"
    default_remedy = "verify the dataset: its copy here is not where it should be"


class LandingInvalid(Refused):
    reason = "LANDING_INVALID"
    default_remedy = "compare the landing of the route with what the peer offers (`librarian route ls`)"


class OriginInvalid(Refused):
    reason = "ORIGIN_INVALID"
    default_remedy = "the statement of its origin does not fit the dataset: ask the site it came from"


class KeyNotIntroduced(Refused):
    reason = "KEY_NOT_INTRODUCED"
    default_remedy = "the sender has to introduce the key of that site"


class ReceiptMismatch(Refused):
    reason = "RECEIPT_MISMATCH"
    default_remedy = "the receipt is about other bytes than this site has: compare `librarian show` at both"


class WrongSite(Refused):
    reason = "WRONG_SITE"
    default_remedy = (
        "correct the peer's address: `librarian peer ls` shows it, `librarian peer set` changes it"
    )


class Withdrawn(Refused):
    reason = "WITHDRAWN"
    default_remedy = "the sender gave it up; it can be offered again"


class OffsetMismatch(Refused):
    reason = "OFFSET_MISMATCH"
    default_remedy = "ask GetUpload what is persisted and go on there"


class StaleLease(Refused):
    reason = "STALE_LEASE"


class SchemaOutdated(Refused):
    reason = "SCHEMA_OUTDATED"
    default_remedy = 'start the service once with database.migrate = "auto", or as a role that may migrate'


class AlreadyRunning(Refused):
    reason = "ALREADY_RUNNING"
    default_remedy = "wait for it to end, or stop it"


class DiskNotMounted(Refused):
    reason = "DISK_NOT_MOUNTED"
    default_remedy = "plug the disk in, mount it there, and try again"


class DiskUnknown(Refused):
    reason = "DISK_UNKNOWN"
    default_remedy = "`librarian disk init PATH --serial ...` gives an empty disk its identity"


class DiskWrong(Refused):
    reason = "DISK_WRONG"
    default_remedy = "compare the label on the case with the one asked for, and plug in that disk"


class DiskNotEmpty(Refused):
    reason = "DISK_NOT_EMPTY"
    default_remedy = "use an empty disk; or say --force, and what lies on it stays beside the cargo"


class DiskForeign(Refused):
    reason = "DISK_FOREIGN"
    default_remedy = "give it back to its owner; or say --force to take it over for good"


class DiskReadOnly(Refused):
    reason = "DISK_READ_ONLY"
    default_remedy = "check the lock switch and the mount options, then mount it writable"


class DiskLimited(Refused):
    reason = "DISK_LIMITED"
    default_remedy = "use a disk with another file system (ext4 or XFS), or send this dataset over the link"


class DiskBusy(Refused):
    reason = "DISK_BUSY"
    default_remedy = "wait for it (`librarian disk show`), or stop it first"


class DiskOwes(Refused):
    reason = "DISK_OWES"
    default_remedy = "`librarian disk release DISK --check` lists what is still owed"


class ShipmentEmpty(Refused):
    reason = "SHIPMENT_EMPTY"
    default_remedy = (
        "`librarian transfer ls --to SITE` and `librarian explain NAME --at SITE` tell what waits"
    )


class SoleCopies(Refused):
    reason = "SOLE_COPIES"
    default_remedy = "make another copy first, use disks for separate boxes, or say --allow-sole-copies"


class ShipmentAltered(Refused):
    reason = "SHIPMENT_ALTERED"
    default_remedy = "ask the site that packed it which manifest is its own (`librarian shipment show`)"


# --- RESOURCE_EXHAUSTED


class StoreFull(Exhausted):
    reason = "STORE_FULL"
    default_remedy = "`librarian store ls` shows the room left; add a store or free space"


class UploadTooLarge(Exhausted):
    reason = "UPLOAD_TOO_LARGE"
    default_remedy = "the source grew after it was measured: put it again when nothing writes to it"


class BatchTooLarge(Exhausted):
    reason = "BATCH_TOO_LARGE"


class DiskFull(Exhausted):
    reason = "DISK_FULL"
    default_remedy = "go on with the next disk: `librarian shipment pack SHIPMENT --disks ...`"


# --- DATA_LOSS


class ChecksumMismatch(DataLoss):
    reason = "CHECKSUM_MISMATCH"
    default_remedy = "put it again; if it happens again, distrust the memory or the disk"


class ChunkCorrupt(DataLoss):
    reason = "CHUNK_CORRUPT"
    default_remedy = "send the chunk again"


class ReadFailed(DataLoss):
    reason = "READ_FAILED"
    default_remedy = "the medium answers with errors: `librarian verify` the dataset and read another replica"


class ReplicaCorrupt(DataLoss):
    reason = "REPLICA_CORRUPT"
    default_remedy = "read another replica; `librarian show NAME` lists them"


class DiskFailing(DataLoss):
    reason = "DISK_FAILING"
    default_remedy = "stop using this disk; copy it with ddrescue, and read the copy"


# --- UNAUTHENTICATED, PERMISSION_DENIED


class TokenMissing(Unauthenticated):
    reason = "TOKEN_MISSING"
    default_remedy = "set LIBRARIAN_TOKEN, or LIBRARIAN_HOME to the home of a site on this machine"


class TokenInvalid(Unauthenticated):
    reason = "TOKEN_INVALID"
    default_remedy = "ask the site's admin for a token (`librarian token issue`)"


class TokenExpired(Unauthenticated):
    reason = "TOKEN_EXPIRED"
    default_remedy = "ask the site's admin for a new token (`librarian token issue`)"


class TokenRevoked(Unauthenticated):
    reason = "TOKEN_REVOKED"
    default_remedy = "ask the site's admin for a new token (`librarian token issue`)"


class InviteInvalid(Unauthenticated):
    reason = "INVITE_INVALID"
    default_remedy = "ask the other site for a new code (`librarian peer invite`)"


class PeerUnknown(Unauthenticated):
    reason = "PEER_UNKNOWN"
    default_remedy = "pair the two sites (`librarian peer invite`, `librarian peer join`)"


class PeerKeyUnknown(Unauthenticated):
    reason = "PEER_KEY_UNKNOWN"
    default_remedy = "check in with a key that is known, or pair the two sites again"


class PeerTokenInvalid(Unauthenticated):
    reason = "PEER_TOKEN_INVALID"
    default_remedy = "compare the clocks and the names of both sites"


class PeerSessionEnded(Unauthenticated):
    reason = "PEER_SESSION_ENDED"
    default_remedy = "say Hello again"


class TicketInvalid(Unauthenticated):
    reason = "TICKET_INVALID"
    default_remedy = "begin the upload or read again for a fresh ticket"


class RoleMayNot(Denied):
    reason = "ROLE_MAY_NOT"
    default_remedy = "use a token with a role that may (`librarian token issue --role ...`)"


class PeerPaused(Denied):
    reason = "PEER_PAUSED"
    default_remedy = "the other site has paused this one: `librarian peer resume` there goes on"


class NameOutsidePrefix(Denied):
    reason = "NAME_OUTSIDE_PREFIX"
    default_remedy = "use a name inside the token's prefix, or a token without one"


# --- UNAVAILABLE


class DiskGone(Unavailable):
    reason = "DISK_GONE"
    default_remedy = "plug the disk in again: the same command goes on where it was"


# --- OUT_OF_RANGE


class CursorOfAnotherEpoch(OutOfRange):
    reason = "CURSOR_OF_ANOTHER_EPOCH"
    default_remedy = "the log was restored: read it again from the start"


def _all_classes(cls: type[LibrarianError]) -> list[type[LibrarianError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _all_classes(sub))]


BY_REASON: dict[str, type[LibrarianError]] = {cls.reason: cls for cls in _all_classes(LibrarianError)}
BY_CODE: dict[int, type[LibrarianError]] = {
    cls.code: cls for cls in LibrarianError.__subclasses__() if "code" in cls.__dict__
}


def make_error(code: int, reason: str, message: str, metadata: dict[str, str]) -> LibrarianError:
    """The error another process told of: its class by reason, else by code.

    A reason this version does not know keeps its own name in `metadata["reason"]`.
    """
    fields = dict(metadata)
    remedy = fields.pop("remedy", "")
    cls = BY_REASON.get(reason)
    if cls is None:
        cls = BY_CODE.get(code, LibrarianError)
        fields["reason"] = reason
    error = cls(message, remedy=remedy)
    error.metadata = fields
    return error
