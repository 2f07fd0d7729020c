"""Values of this package to messages of the API."""

from __future__ import annotations

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.messages import timestamp
from transfer_svc.messages import error_from_json
from transfer_svc.sending.lifecycle import BATCHED
from transfer_svc.sending.values import LogEntry, Route, Transfer


def route_to_proto(route: Route) -> pb.Route:
    return pb.Route(
        route_id=route.route_id,
        destination=route.destination,
        destination_kind=pb.DestinationKind.ValueType(route.destination_kind),
        name_glob=route.name_glob,
        tags=route.tags,
        via=route.via,
        priority=route.priority,
        max_active=route.max_active,
        max_bytes_per_second=route.max_bytes_per_second,
        landing=route.landing,
        through=route.through,
        paused=route.paused,
        create_time=timestamp(route.create_time),
        backfill_state=pb.BackfillState.ValueType(route.backfill_state),
        backfilled_count=route.backfilled_count,
    )


def transfer_to_proto(transfer: Transfer) -> pb.Transfer:
    return pb.Transfer(
        transfer_id=transfer.transfer_id,
        route_id=transfer.route_id,
        dataset_uid=transfer.dataset_uid,
        name=transfer.name,
        kind=common_pb2.DatasetKind.ValueType(transfer.kind),
        size_bytes=transfer.size_bytes,
        destination=transfer.destination,
        destination_kind=pb.DestinationKind.ValueType(transfer.destination_kind),
        via=transfer.via,
        state=pb.TransferState.ValueType(transfer.state),
        priority=transfer.priority,
        batch_id=transfer.batch_id or "",
        moved_bytes=transfer.moved_bytes,
        bytes_per_second=transfer.bytes_per_second if transfer.state in BATCHED else 0,
        plan_time=timestamp(transfer.plan_time),
        state_time=timestamp(transfer.state_time),
        update_time=timestamp(transfer.update_time),
        next_time=timestamp(transfer.not_before) if transfer.not_before else None,
        attempt_count=transfer.attempt_count,
        error=error_from_json(transfer.error_json),
    )


def entry_to_proto(entry: LogEntry) -> pb.TransferLogEntry:
    return pb.TransferLogEntry(
        time=timestamp(entry.time),
        state=pb.TransferState.ValueType(entry.state),
        event=entry.event,
        message=entry.message,
        reason=entry.reason,
    )
