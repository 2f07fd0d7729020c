"""Protocol messages to the store's values and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from librarian.api.common.v1 import common_pb2 as common
from librarian.api.store.v1 import store_pb2 as pb
from librarian.checksums import Checksum
from librarian.errors import InvalidInput, LibrarianError
from librarian.manifests import DatasetKind, MemberKind
from librarian.messages import checksum_from_proto, checksum_to_proto, item_error, timestamp
from store_svc.adoptable import Adopted, ToAdopt
from store_svc.chunks import Chunk
from store_svc.committing import Status
from store_svc.finding import Found
from store_svc.held import HeldPage
from store_svc.reading import ReadGrant
from store_svc.records import Claims, UploadSpec
from store_svc.replicas import MemberFinding, Report, Verdict, VerifyProgress
from store_svc.reserving import Begun
from store_svc.scanning import ScanProgress
from store_svc.streams import UploadPage
from store_svc.wire import WriteMessage

_VERDICTS = {
    Verdict.AVAILABLE: common.REPLICA_STATE_AVAILABLE,
    Verdict.CORRUPT: common.REPLICA_STATE_CORRUPT,
    Verdict.MISSING: common.REPLICA_STATE_MISSING,
}


def spec_from_proto(message: pb.UploadSpec) -> UploadSpec:
    """Raises InvalidInput."""
    return UploadSpec(
        message.upload_id,
        message.name,
        _kind(message.kind),
        message.size_bytes,
        message.inode_count,
        message.algorithm,
        message.dataset_uid,
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
            rsync_address=grant.rsync_address,
        ),
        errors=upload_errors(begun.errors),
    )


def chunk_from_proto(message: pb.WriteUploadRequest | WriteMessage) -> Chunk:
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


def to_adopt_from_proto(request: pb.AdoptTreesRequest) -> list[ToAdopt]:
    """Raises InvalidInput, AlgorithmNotAllowed."""
    count = len(request.names)
    for field in ("uids", "each_facts_json", "digests"):
        if len(getattr(request, field)) not in {0, count}:
            raise InvalidInput(f"{field} has not one item for each name, nor none", field=field)
    return [
        ToAdopt(
            name,
            request.uids[index] if request.uids else "",
            _digest(request.digests[index]) if request.digests else None,
            (request.each_facts_json[index] if request.each_facts_json else request.facts_json) or "{}",
        )
        for index, name in enumerate(request.names)
    ]


def _digest(message: common.Checksum) -> Checksum | None:
    return checksum_from_proto(message) if message.algorithm else None


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
    elif adopted.found is not None:
        message.digest.CopyFrom(checksum_to_proto(adopted.found))
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


def held_page_to_proto(page: HeldPage, next_page_token: str) -> pb.ListHeldResponse:
    return pb.ListHeldResponse(
        held=[
            pb.HeldDataset(
                uid=holding.uid,
                name=holding.name,
                kind=common.DatasetKind.ValueType(holding.kind),
                digest=checksum_to_proto(holding.digest),
                size_bytes=holding.size_bytes,
                member_count=holding.member_count,
                verify_time=timestamp(holding.verify_time),
                unconfirmed=holding.uid in page.unconfirmed,
            )
            for holding in page.held
        ],
        next_page_token=next_page_token,
    )


def scan_progress_to_proto(progress: ScanProgress) -> pb.ScanStoreResponse:
    return pb.ScanStoreResponse(
        findings=[
            pb.ScanFinding(reason=finding.reason, path=finding.path, uid=finding.uid, detail=finding.detail)
            for finding in progress.findings
        ],
        scanned_count=progress.scanned_count,
    )
