"""Rows to messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from librarian.api.shipment.v1 import shipment_pb2 as pb
from transfer_svc.messages import error_from_json
from transfer_svc.shipping.values import DiskJob


def timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    made = Timestamp()
    made.FromDatetime(time)
    return made


def job_to_proto(job: DiskJob, label: str = "") -> pb.Job:
    return pb.Job(
        job_id=job.job_id,
        kind=pb.JobKind.ValueType(job.kind),
        state=pb.JobState.ValueType(job.state),
        path=job.path,
        disk_id=job.disk_id,
        disk_label=label,
        shipment_id=job.shipment_id,
        step=job.step,
        done_bytes=job.done_bytes,
        total_bytes=job.total_bytes,
        done_count=job.done_count,
        total_count=job.total_count,
        bytes_per_second=job.bytes_per_second,
        note=job.note,
        error=error_from_json(job.error_json),
        create_time=timestamp(job.create_time),
        update_time=timestamp(job.update_time),
        results=job.results.split("\n") if job.results else [],
    )
