"""Transfers and deliveries as lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.output import Column, Output, Verdict
from librarian.cli.texts import coming_text, label, rate_text, share_text, since_text, size_text, time_text
from librarian.messages import datetime_of, error_of
from librarian.names import printable

TRANSFER_COLUMNS = (
    Column("STATE"),
    Column("TO"),
    Column("SIZE", right=True),
    Column("THERE", right=True),
    Column("RATE", right=True),
    Column("SINCE"),
    Column("WHY"),
    Column("TRANSFER"),
    Column("NAME"),
)
# Of what comes on later pages, so that they are aligned with the first.
TRANSFER_WIDTHS = (9, 8, 7, 5, 9, 16, 12, 0, 0)
DELIVERY_COLUMNS = (
    Column("STATE"),
    Column("FROM"),
    Column("SIZE", right=True),
    Column("READ", right=True),
    Column("SINCE"),
    Column("STORE"),
    Column("WHY"),
    Column("NAME"),
)
DELIVERY_WIDTHS = (9, 8, 7, 5, 16, 8, 12, 0)

_JUDGED = {
    transfer_pb2.TRANSFER_STATE_VERIFIED: Verdict.GOOD,
    transfer_pb2.TRANSFER_STATE_PRESENT: Verdict.GOOD,
    transfer_pb2.TRANSFER_STATE_HELD: Verdict.DOUBTFUL,
    transfer_pb2.TRANSFER_STATE_FAILED: Verdict.BAD,
}


def transfer_state(state: transfer_pb2.TransferState.ValueType) -> str:
    return label(transfer_pb2.TransferState.Name(state), "TRANSFER_STATE_")


def is_there(transfer: transfer_pb2.Transfer) -> bool:
    return transfer.state in {transfer_pb2.TRANSFER_STATE_VERIFIED, transfer_pb2.TRANSFER_STATE_PRESENT}


def judged_state(transfer: transfer_pb2.Transfer, output: Output) -> str:
    verdict = _JUDGED.get(transfer.state)
    state = transfer_state(transfer.state)
    return output.judged(state, verdict) if verdict is not None else state


def transfer_row(transfer: transfer_pb2.Transfer, *, long: bool) -> list[str]:
    moving = transfer.state == transfer_pb2.TRANSFER_STATE_MOVING
    return [
        transfer_state(transfer.state),
        transfer.destination,
        size_text(transfer.size_bytes),
        share_text(transfer.moved_bytes, transfer.size_bytes) if moving else "-",
        rate_text(transfer.bytes_per_second) if moving and transfer.bytes_per_second else "-",
        time_text(datetime_of(transfer.state_time)),
        transfer.error.reason or "-",
        transfer.transfer_id if long else "",
        printable(transfer.name),
    ]


def delivery_row(incoming: transfer_pb2.IncomingDelivery) -> list[str]:
    delivery = incoming.delivery
    verifying = delivery.state == federation_pb2.DELIVERY_STATE_VERIFYING
    return [
        label(federation_pb2.DeliveryState.Name(delivery.state), "DELIVERY_STATE_"),
        incoming.peer or "here",
        size_text(incoming.size_bytes),
        share_text(delivery.verified_bytes, incoming.size_bytes) if verifying else "-",
        time_text(datetime_of(delivery.update_time)),
        incoming.store or "-",
        delivery.error.reason or "-",
        printable(incoming.name),
    ]


def print_transfer(transfer: transfer_pb2.Transfer, now: datetime, output: Output) -> None:
    """All that is known of one, without its log."""
    moved = size_text(transfer.moved_bytes)
    if transfer.bytes_per_second and transfer.state == transfer_pb2.TRANSFER_STATE_MOVING:
        moved += f", {rate_text(transfer.bytes_per_second)}"
    facts = [
        ("transfer", transfer.transfer_id),
        ("to", f"{transfer.destination} by {transfer.via}, route {transfer.route_id}"),
        ("state", judged_state(transfer, output)),
        ("since", since_text(datetime_of(transfer.state_time), now)),
        ("size", f"{size_text(transfer.size_bytes)}, {moved} there"),
        ("priority", str(transfer.priority)),
        ("tried", f"{transfer.attempt_count} times" if transfer.attempt_count > 1 else ""),
        ("next", coming_text(datetime_of(transfer.next_time), now) if transfer.HasField("next_time") else ""),
        ("dataset", transfer.dataset_uid),
        ("batch", transfer.batch_id),
    ]
    output.line(output.bold(printable(transfer.name)))
    for fact, text in facts:
        if text:
            output.line(f"  {fact:<9}  {text}")
    if transfer.HasField("error"):
        print_trouble(transfer.error, output)


def print_trouble(error: common_pb2.ItemError, output: Output, *, indent: str = "  ") -> None:
    """Why, and what to do about it."""
    known = error_of(error)
    output.line(f"{indent}{error.reason}: {printable(known.message)}")
    if known.remedy:
        output.line(f"{indent}  what to do: {known.remedy}")


def print_log(log: Sequence[transfer_pb2.TransferLogEntry], output: Output, *, indent: str = "  ") -> None:
    for entry in log:
        moment = datetime_of(entry.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        event = entry.event.replace("_", " ").lower()
        reason = f" ({entry.reason})" if entry.reason else ""
        output.line(f"{indent}{moment}  {event:<10}  {printable(entry.message)}{reason}".rstrip())
