"""Explanations as people and scripts read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.message import DecodeError

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.jsonform import message_value
from librarian.cli.output import Output, Verdict
from librarian.cli.route_rows import told_route
from librarian.cli.texts import coming_text, label, rate_text, share_text, since_text, size_text, time_text
from librarian.cli.transfer_rows import print_log, print_trouble, transfer_state
from librarian.messages import datetime_of, timestamp_of_microseconds
from librarian.names import printable

_STANDINGS = {
    transfer_pb2.STANDING_THERE: ("it is there", Verdict.GOOD),
    transfer_pb2.STANDING_ON_ITS_WAY: ("on its way", None),
    transfer_pb2.STANDING_WAITING: ("waiting", None),
    transfer_pb2.STANDING_HELD: ("held: a person has to look", Verdict.DOUBTFUL),
    transfer_pb2.STANDING_FAILED: ("failed", Verdict.BAD),
    transfer_pb2.STANDING_CANCELLED: ("cancelled", Verdict.DOUBTFUL),
    transfer_pb2.STANDING_NO_ROUTE: ("no route wants it there", Verdict.DOUBTFUL),
    transfer_pb2.STANDING_NOT_PLANNED_YET: ("a route wants it; not planned yet", None),
}
# The command for what only a person can do.
_TO_DO = {
    transfer_pb2.STANDING_HELD: "`librarian transfer retry {transfer}` when that is mended",
    transfer_pb2.STANDING_FAILED: "`librarian transfer retry {transfer}` tries it again",
    transfer_pb2.STANDING_CANCELLED: "`librarian transfer retry {transfer}` takes it up again",
    transfer_pb2.STANDING_NO_ROUTE: (
        "`librarian route add --to {destination} --match GLOB --backfill` makes one"
    ),
}

_HINDERED = frozenset({transfer_pb2.STANDING_WAITING, transfer_pb2.STANDING_NOT_PLANNED_YET})


def is_there(found: transfer_pb2.ExplainDatasetResponse) -> bool:
    """Everywhere that was asked about, and there was such a place."""
    there = [one.standing == transfer_pb2.STANDING_THERE for one in found.explanations]
    return bool(there) and all(there)


def explained_value(found: transfer_pb2.ExplainDatasetResponse) -> dict[str, Any]:
    """With what the receipts say beside their signed form."""
    value: dict[str, Any] = message_value(found)
    for one, told in zip(found.explanations, value["explanations"], strict=True):
        receipt = receipt_of(one)
        told["receipt_statement"] = message_value(receipt) if receipt is not None else None
    return value


def receipt_of(one: transfer_pb2.Explanation) -> common_pb2.Receipt | None:
    """None also where it cannot be read; the site that recorded it has checked it."""
    if not one.HasField("receipt"):
        return None
    try:
        return common_pb2.Receipt.FromString(one.receipt.payload)
    except DecodeError:
        return None


def print_explained(found: transfer_pb2.ExplainDatasetResponse, now: datetime, output: Output) -> None:
    output.line(output.bold(printable(found.name)))
    if not found.explanations:
        output.line("  nothing sends it on from here: no route, no transfer, no receipt")
        output.line("  to do      `librarian route add --to SITE --match GLOB --backfill` sends it on")
    for one in found.explanations:
        output.line()
        _print_one(one, now, output)


def _print_one(one: transfer_pb2.Explanation, now: datetime, output: Output) -> None:
    words, verdict = _STANDINGS.get(
        one.standing, (label(transfer_pb2.Standing.Name(one.standing), "STANDING_").replace("_", " "), None)
    )
    told = output.judged(words, verdict) if verdict is not None else words
    output.line(f"  at {output.bold(one.destination)}: {told}")
    if one.summary:
        output.line(f"    {printable(one.summary)}")
    facts = [
        ("receipt", _receipt_text(one)),
        ("route", _route_text(one)),
        ("now", _progress_text(one)),
        ("waits for", one.waits_for),
        ("since", since_text(datetime_of(one.since_time), now) if one.HasField("since_time") else ""),
        ("next", _next_text(one, now)),
        ("to do", _to_do(one)),
    ]
    for fact, text in facts:
        if text:
            output.line(f"    {fact:<9}  {printable(text)}")
    error = one.transfer.error
    told_already = error.reason in one.summary or one.standing == transfer_pb2.STANDING_THERE
    if error.reason and not told_already:
        output.line("    trouble")
        print_trouble(error, output, indent="      ")
    unmatched = [verdict for verdict in one.routes if not verdict.matches]
    if unmatched and not any(verdict.matches for verdict in one.routes):
        output.line("    no route matches, because")
        for refused in unmatched:
            output.line(f"      {told_route(refused.route)}: {printable(refused.reason)}")
    if one.log:
        output.line("    so far")
        print_log(one.log, output, indent="      ")


def _receipt_text(one: transfer_pb2.Explanation) -> str:
    receipt = receipt_of(one)
    if receipt is None:
        return ""
    read = time_text(datetime_of(timestamp_of_microseconds(receipt.verify_time_us)))
    text = f"of {receipt.site}, store {receipt.store} ({receipt.store_class}): every byte re-read on {read}"
    if receipt.failure_domain:
        text += f", failure domain {receipt.failure_domain}"
    if receipt.held_uid:
        text += f"; it had the same bytes already, as {receipt.held_uid}"
    return text


def _route_text(one: transfer_pb2.Explanation) -> str:
    matching = [verdict.route for verdict in one.routes if verdict.matches]
    texts = [told_route(route) + (" (paused)" if route.paused else "") for route in matching]
    if not texts and one.HasField("transfer"):
        texts = [f"to {one.transfer.destination} by {one.transfer.via}, since removed"]
    return "; ".join(texts)


def _progress_text(one: transfer_pb2.Explanation) -> str:
    """Of one that is being moved or re-read; others are told by what they wait for."""
    transfer = one.transfer
    if not one.HasField("transfer") or one.standing != transfer_pb2.STANDING_ON_ITS_WAY:
        return ""
    text = (
        f"{transfer_state(transfer.state)}, {size_text(transfer.moved_bytes)} of "
        f"{size_text(transfer.size_bytes)} ({share_text(transfer.moved_bytes, transfer.size_bytes)})"
    )
    if transfer.bytes_per_second:
        text += f", {rate_text(transfer.bytes_per_second)}"
    return text


def _next_text(one: transfer_pb2.Explanation, now: datetime) -> str:
    when = coming_text(datetime_of(one.next_time), now) if one.HasField("next_time") else ""
    return ", ".join(part for part in (one.next_step, when) if part)


def _to_do(one: transfer_pb2.Explanation) -> str:
    for verdict in one.routes:
        if verdict.matches and verdict.route.paused and one.standing in _HINDERED:
            return f"`librarian route resume {verdict.route.route_id}` lets it go on"
    hint = _TO_DO.get(one.standing, "")
    return hint.format(transfer=one.transfer.transfer_id, destination=one.destination)
