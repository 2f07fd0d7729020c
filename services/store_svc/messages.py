"""Protocol messages to the store's values and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from librarian.api.common.v1 import common_pb2 as common
from librarian.api.store.v1 import store_pb2 as pb
from librarian.errors import InvalidInput, InvalidStore, LibrarianError
from librarian.manifests import DatasetKind, MemberKind
from librarian.messages import checksum_from_proto, checksum_to_proto, item_error, timestamp
from store_svc.adopting import Adopted
from store_svc.chunks import Chunk
from store_svc.committing import Status
from store_svc.finding import Found
from store_svc.reading import Piece, ReadGrant
from store_svc.records import Capabilities, Claims, Store, StoreClass, UploadSpec
from store_svc.replicas import MemberFinding, Report, Verdict, VerifyProgress
from store_svc.reserving import Begun
from store_svc.room import DEFAULT_FILL_FRACTION
from store_svc.scanning import ScanProgress
from store_svc.stores import Usage
from store_svc.streams import UploadPage
from svckit.sections import StoreSettings

_VERDICTS = {
    Verdict.AVAILABLE: common.REPLICA_STATE_AVAILABLE,
    Verdict.CORRUPT: common.REPLICA_STATE_CORRUPT,
    Verdict.MISSING: common.REPLICA_STATE_MISSING,
}


def store_from_proto(message: pb.Store, settings: StoreSettings) -> Store:
    """As asked for; what is 0 or empty has its default. Raises InvalidStore."""
    return Store(
        name=message.name,
        store_uid="",
        root=message.root,
        store_class=_store_class(message.store_class or pb.STORE_CLASS_ONLINE),
        failure_domain=message.failure_domain or message.name,
        enabled=message.enabled,
        ingestible=message.ingestible,
        priority=message.priority,
        fill_fraction=message.fill_fraction or settings.fill_fraction,
        max_bytes=message.max_bytes,
        max_inodes=message.max_inodes,
        file_mode=message.file_mode or int(settings.file_mode, 8),
        directory_mode=message.directory_mode or int(settings.directory_mode, 8),
        staging_mode=message.staging_mode or int(settings.staging_mode, 8),
        owner=message.owner,
        read_only=message.read_only,
        client_root=message.client_root,
        capabilities=Capabilities(),
    )


def changes_from_proto(message: pb.Store, fields: list[str], settings: StoreSettings) -> dict[str, Any]:
    """New values by field name, of those the mask names; 0 stands for the default as it does at first."""
    if not fields:
        raise InvalidInput(
            "the update_mask is empty", remedy="name the fields to change", field="update_mask"
        )
    whole = store_from_proto(message, settings)
    return {name: getattr(whole, name, None) for name in fields}


def _store_class(number: int) -> StoreClass:
    try:
        return StoreClass(number)
    except ValueError:
        raise InvalidStore(f"{number} is no store class") from None


def store_to_proto(usage: Usage) -> pb.Store:
    store = usage.store
    message = pb.Store(
        name=store.name,
        root=store.root,
        store_class=pb.StoreClass.ValueType(store.store_class),
        failure_domain=store.failure_domain,
        enabled=store.enabled,
        ingestible=store.ingestible,
        priority=store.priority,
        fill_fraction=store.fill_fraction or DEFAULT_FILL_FRACTION,
        max_bytes=store.max_bytes,
        max_inodes=store.max_inodes,
        file_mode=store.file_mode,
        directory_mode=store.directory_mode,
        staging_mode=store.staging_mode,
        owner=store.owner,
        read_only=store.read_only,
        client_root=store.client_root,
        capabilities=_capabilities_to_proto(store.capabilities),
        store_uid=store.store_uid,
        trouble=usage.trouble,
    )
    message.usage.held_count = store.held_count
    message.usage.held_bytes = store.held_bytes
    message.usage.reserved_bytes = usage.promised.to_come.data_bytes
    if usage.disk is not None and usage.room is not None:
        limit = store.max_bytes or usage.disk.capacity_bytes
        message.usage.capacity_bytes = min(limit, usage.disk.capacity_bytes)
        message.usage.free_bytes = usage.disk.available_bytes
        message.usage.free_inodes = usage.disk.available_inodes
        message.usage.grantable_bytes = usage.room.grantable_bytes if store.ingestible else 0
    return message


def _capabilities_to_proto(found: Capabilities) -> pb.StoreCapabilities:
    return pb.StoreCapabilities(
        rename_noreplace=found.rename_noreplace,
        hard_links=found.hard_links,
        reflink=found.reflink,
        chown=found.chown,
        leases=found.leases,
        case_sensitive=found.case_sensitive,
        symlinks=found.symlinks,
        max_file_bytes=found.max_file_bytes,
        file_system=found.file_system,
    )


def spec_from_proto(message: pb.UploadSpec) -> UploadSpec:
    """Raises InvalidInput."""
    return UploadSpec(
        message.upload_id,
        message.name,
        _kind(message.kind),
        message.size_bytes,
        message.inode_count,
        message.algorithm,
    )


def _kind(number: int) -> DatasetKind:
    try:
        return DatasetKind(number)
    except ValueError:
        raise InvalidInput(
            f"{number} is no dataset kind", remedy="use FILE or DIRECTORY", field="kind"
        ) from None


def upload_errors(errors: Mapping[str, LibrarianError]) -> list[pb.UploadError]:
    return [
        pb.UploadError(upload_id=upload_id, error=item_error(error)) for upload_id, error in errors.items()
    ]


def begun_to_proto(begun: Begun, proof_name: str, data_address: str) -> pb.BeginUploadsResponse:
    grant = begun.grant
    return pb.BeginUploadsResponse(
        grant=pb.UploadGrant(
            store=begun.store.name,
            staging_path=grant.staging_path,
            proof_name=proof_name,
            proof=grant.proof,
            data_address=data_address,
            ticket=grant.ticket,
            ticket_expire_time=timestamp(grant.ticket_expires),
        ),
        errors=upload_errors(begun.errors),
    )


def chunk_from_proto(message: pb.WriteUploadRequest) -> Chunk:
    """Raises InvalidInput."""
    try:
        kind = MemberKind(message.kind or MemberKind.FILE)
    except ValueError:
        raise InvalidInput(f"{message.kind} is no member kind", field="kind") from None
    return Chunk(
        message.upload_id,
        message.path,
        kind,
        message.offset,
        message.data,
        message.crc32c,
        message.mode,
        message.mtime_ns,
        message.link_target,
        message.last,
    )


def claims_from_proto(message: pb.CommitUploadItem) -> Claims:
    """Raises InvalidInput, AlgorithmNotAllowed."""
    return Claims(
        checksum_from_proto(message.digest), message.size_bytes, message.member_count, message.facts_json
    )


def status_to_proto(status: Status) -> pb.CommitUploadStatus:
    return pb.CommitUploadStatus(
        upload_id=status.upload_id,
        state=pb.UploadState.ValueType(status.state or 0),
        digest=None if status.digest is None else checksum_to_proto(status.digest),
        size_bytes=status.size_bytes,
        member_count=status.member_count,
        verified_bytes=status.verified_bytes,
        error=None if status.error is None else item_error(status.error),
    )


def read_grant_to_proto(grant: ReadGrant, data_address: str) -> pb.ReadGrant:
    return pb.ReadGrant(
        store=grant.store.name,
        kind=common.DatasetKind.ValueType(grant.holding.kind),
        path=grant.path,
        proof_path=grant.proof_path,
        store_uid=grant.store.store_uid,
        data_address=data_address,
        ticket=grant.ticket,
        ticket_expire_time=timestamp(grant.ticket_expires),
    )


def piece_to_proto(piece: Piece) -> pb.ReadDatasetResponse:
    return pb.ReadDatasetResponse(
        range=piece.range_index, offset=piece.offset, data=piece.data, crc32c=piece.crc32c, last=piece.last
    )


def report_to_proto(report: Report) -> pb.ReplicaReport:
    return pb.ReplicaReport(
        uid=report.holding.uid,
        store=report.holding.store,
        state=_VERDICTS[report.verdict],
        findings=map(_finding_to_proto, report.findings),
        finding_count=report.finding_count,
        read_bytes=report.read_bytes,
        time=None if report.time is None else timestamp(report.time),
    )


def _finding_to_proto(finding: MemberFinding) -> pb.MemberFinding:
    return pb.MemberFinding(
        path=_sendable(finding.path),
        reason=finding.reason,
        location=_sendable(finding.location),
        expected=None if finding.expected is None else checksum_to_proto(finding.expected),
        found=None if finding.found is None else checksum_to_proto(finding.found),
    )


def _sendable(path: str) -> str:
    """Names on a disk may be any bytes; a message carries valid UTF-8 only."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def adopted_to_proto(adopted: Adopted) -> pb.AdoptedTree:
    message = pb.AdoptedTree(name=_sendable(adopted.name), already=adopted.already)
    if adopted.error is not None:
        message.error.CopyFrom(item_error(adopted.error))
    holding = adopted.holding
    if holding is not None:
        message.uid = holding.uid
        message.kind = common.DatasetKind.ValueType(holding.kind)
        message.digest.CopyFrom(checksum_to_proto(holding.digest))
        message.size_bytes = holding.size_bytes
        message.member_count = holding.member_count
        message.mtime_ns = holding.fingerprint.mtime_ns
    return message


def refused_status(upload_id: str, error: LibrarianError) -> pb.CommitUploadStatus:
    """For an item that cannot even be looked at."""
    return pb.CommitUploadStatus(upload_id=upload_id, error=item_error(error))


def page_to_proto(page: UploadPage, next_page_token: str) -> pb.GetUploadResponse:
    return pb.GetUploadResponse(
        state=pb.UploadState.ValueType(page.state),
        files=[
            pb.UploadedFile(path=entry.path, persisted_bytes=entry.persisted_bytes, complete=entry.complete)
            for entry in page.entries
        ],
        next_page_token=next_page_token,
    )


def verify_progress_to_proto(progress: VerifyProgress) -> pb.VerifyReplicaResponse:
    return pb.VerifyReplicaResponse(
        verified_bytes=progress.verified_bytes,
        total_bytes=progress.total_bytes,
        report=None if progress.report is None else report_to_proto(progress.report),
    )


def found_to_proto(found: Sequence[Found]) -> pb.FindTreesResponse:
    return pb.FindTreesResponse(
        names=[_sendable(name) for name, _ in found], size_bytes=[size for _, size in found]
    )


def scan_progress_to_proto(progress: ScanProgress) -> pb.ScanStoreResponse:
    return pb.ScanStoreResponse(
        findings=[
            pb.ScanFinding(reason=finding.reason, path=finding.path, uid=finding.uid, detail=finding.detail)
            for finding in progress.findings
        ],
        scanned_count=progress.scanned_count,
    )
