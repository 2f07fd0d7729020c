"""Transfers, routes and receipts as a site would tell of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import LibrarianError
from librarian.messages import item_error, microseconds, timestamp

BEGAN = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
SIZE = 1_000_000_000


def transfer(
    number: int,
    state: str,
    *,
    to: str = "nersc",
    after_seconds: float = 0,
    trouble: LibrarianError | None = None,
    **fields: Any,
) -> transfer_pb2.Transfer:
    found = transfer_pb2.Transfer(
        **{
            "transfer_id": f"{number:08}-0000-4000-8000-000000000000",
            "route_id": "00000000-0000-4000-8000-000000000000",
            "name": f"satp3/obs/{number}",
            "size_bytes": SIZE,
            "destination": to,
            "via": "stream",
            "state": transfer_pb2.TransferState.Value(f"TRANSFER_STATE_{state.upper()}"),
            "state_time": timestamp(BEGAN + timedelta(seconds=after_seconds)),
            **fields,
        }
    )
    if trouble is not None:
        found.error.CopyFrom(item_error(trouble))
    return found


def log_entry(event: str, message: str, *, after_seconds: float = 0) -> transfer_pb2.TransferLogEntry:
    time = timestamp(BEGAN + timedelta(seconds=after_seconds))
    return transfer_pb2.TransferLogEntry(time=time, event=event, message=message)


def route(number: int, to: str, glob: str, via: str = "stream", **fields: Any) -> transfer_pb2.Route:
    route_id = f"{number:08}-0000-4000-8000-000000000000"
    return transfer_pb2.Route(route_id=route_id, destination=to, name_glob=glob, via=via, **fields)


def receipt(site: str) -> common_pb2.Signed:
    said = common_pb2.Receipt(
        site=site,
        store="tape",
        store_class="archive",
        failure_domain="silo 4",
        verify_time_us=microseconds(BEGAN),
    )
    return common_pb2.Signed(type="librarian.receipt", payload=said.SerializeToString())
