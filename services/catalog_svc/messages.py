"""Rows to messages. On the hot paths: fields are set one by one, which costs half of nested construction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2

from .lifecycle import ReplicaState
from .queries.reading import DATASET

if TYPE_CHECKING:
    import asyncpg

Row: TypeAlias = "Sequence[Any] | asyncpg.Record"

_DATASET_COLUMNS = len(DATASET)
_STATE_NAMES = {state.value: state.name for state in ReplicaState}


def fill_dataset(message: pb.Dataset, row: Row) -> None:
    """`row`: the columns of `queries.reading.DATASET`."""
    (
        message.uid,
        message.name,
        message.kind,
        algorithm,
        digest,
        message.size_bytes,
        message.member_count,
        message.uploader,
        message.site,
        create_time_us,
        publish_time_us,
        tags_json,
        message.state,
        origin,
        message.traceparent,
    ) = row
    checksum = message.digest
    checksum.algorithm = algorithm
    checksum.value = digest
    _fill_time(message.create_time, create_time_us)
    _fill_time(message.publish_time, publish_time_us)
    if tags_json:
        message.tags.update(_tags(tags_json))
    if origin:
        message.origin.ParseFromString(origin)


def fill_copy(message: pb.Dataset, row: Row) -> None:
    """`row`: the columns of `queries.reading.COPY`."""
    site, store, verify_time_us, time_us, note, state, failure_domain, via_site = row
    if site:
        remote = message.remote_replicas.add()
        remote.site, remote.store, remote.store_class = site, store, note
        remote.failure_domain, remote.via_site = failure_domain, via_site
        _fill_time(remote.verify_time, verify_time_us)
        _fill_time(remote.record_time, time_us)
        return
    replica = message.replicas.add()
    replica.store, replica.state, replica.state_reason = store, state, note
    if verify_time_us is not None:
        _fill_time(replica.verify_time, verify_time_us)
    _fill_time(replica.update_time, time_us)


def fill_joined(message: pb.Dataset, rows: Sequence[Row]) -> None:
    """`rows`: one dataset joined with its copies; a single row with nulls where it has none."""
    fill_dataset(message, rows[0][:_DATASET_COLUMNS])
    for row in rows:
        if row[_DATASET_COLUMNS] is not None:
            fill_copy(message, row[_DATASET_COLUMNS:])


def fill_datasets(messages: Any, rows: Iterable[Row], copies: Iterable[Row]) -> None:
    """`messages`: a repeated field of datasets; `copies`: rows of (uid, COPY…)."""
    by_uid = {}
    for row in rows:
        message = messages.add()
        fill_dataset(message, row)
        by_uid[message.uid] = message
    for uid, *copy in copies:
        fill_copy(by_uid[uid], copy)


def fill_member(message: common_pb2.Member, row: Row) -> None:
    """`row`: the columns of `queries.reading.MEMBER`."""
    (
        message.path,
        message.kind,
        message.size_bytes,
        algorithm,
        checksum,
        message.link_target,
        message.mode,
        message.mtime_ns,
    ) = row
    if algorithm is not None:
        message.checksum.algorithm = algorithm
        message.checksum.value = checksum


def fill_event(message: pb.Event, epoch: int, row: Row) -> None:
    """`row`: the columns of `queries.log.EVENT`."""
    sequence, time_us, message.type, message.dataset_uid, message.dataset_name, *rest = row
    message.store, before, after, reason, told = rest
    message.cursor.epoch = epoch
    message.cursor.sequence = sequence
    message.cursor.time_us = time_us
    _fill_time(message.time, time_us)
    if told is not None:
        message.details_json = told
        return
    details = {"state": _STATE_NAMES[after]}
    if before is not None:
        details["previous_state"] = _STATE_NAMES[before]
    if reason:
        details["reason"] = reason
    message.details_json = json.dumps(details, ensure_ascii=False)


def fill_receipt(message: pb.ReceiptRecord, row: Row) -> None:
    """`row`: the columns of `queries.receipts.RECEIPT`."""
    _sequence, _name, receipt, message.via_site = row
    message.receipt.ParseFromString(receipt)


def summary(rows: Iterable[Row], time_us: int) -> pb.GetSummaryResponse:
    """`rows`: (store, state, count, bytes); the datasets themselves are under store ""."""
    response = pb.GetSummaryResponse()
    _fill_time(response.time, time_us)
    for store, state, count, size_bytes in rows:
        if store:
            response.stores.add(store=store, state=state, replica_count=count, size_bytes=size_bytes)
        else:
            response.dataset_count, response.size_bytes = count, size_bytes
    return response


@lru_cache(maxsize=1024)
def _tags(text: str) -> dict[str, str]:
    """Neighbours in a listing mostly have the same ones."""
    tags: dict[str, str] = json.loads(text)
    return tags


def _fill_time(message: Timestamp, since_epoch_us: int) -> None:
    message.seconds, rest = divmod(since_epoch_us, 1_000_000)
    message.nanos = rest * 1000
