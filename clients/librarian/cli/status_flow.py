"""What goes between sites, as `librarian status` tells it: peers and links, queues, what is held, and what
others bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.output import Column, Output, Verdict
from librarian.cli.peer_rows import print_peers
from librarian.cli.route_rows import id_length
from librarian.cli.texts import (
    coming_text,
    count_text,
    counted,
    duration_text,
    rate_text,
    share_text,
    since_text,
    size_text,
)
from librarian.cli.transfer_rows import print_trouble
from librarian.messages import datetime_of
from librarian.names import printable

SHOWN_HELD = 10


def print_flow(
    peers: Sequence[gateway_pb2.Peer],
    flow: transfer_pb2.GetTransferStatusResponse | None,
    now: datetime,
    output: Output,
) -> None:
    """Of a site that is alone and has no routes, nothing. `flow`: None where it could not be asked."""
    if peers:
        output.line()
        print_peers(peers, output)
    if flow is None:
        return
    for link in flow.links:
        _print_link(link, now, output)
    if flow.queues:
        _print_queues(flow.queues, now, output)
    if flow.held:
        _print_held(flow, now, output)
    if flow.incoming:
        _print_incoming(flow.incoming, now, output)


def _print_link(link: transfer_pb2.LinkStatus, now: datetime, output: Output) -> None:
    """Only what keeps it from sending."""
    if link.paused:
        told = output.judged(f"nothing is sent to {link.peer}", Verdict.DOUBTFUL)
        output.line(f"{told}: it is paused; `librarian peer resume {link.peer}` lets it go on")
    elif link.broken:
        told = output.judged(f"sending to {link.peer} fails", Verdict.BAD)
        since = (
            f" since {since_text(datetime_of(link.since_time), now)}" if link.HasField("since_time") else ""
        )
        tried = (
            f"; tried again {coming_text(datetime_of(link.next_time), now)}"
            if link.HasField("next_time")
            else ""
        )
        output.line(f"{told}{since}: {printable(link.reason)}{tried}")


def _print_queues(queues: Sequence[transfer_pb2.QueueStatus], now: datetime, output: Output) -> None:
    columns = [
        Column("TO"),
        Column("BY"),
        Column("ROUTE"),
        Column("WAITING", right=True),
        Column("", right=True),
        Column("OLDEST", right=True),
        Column("UNDER WAY", right=True),
        Column("", right=True),
        Column("THERE", right=True),
        Column("RATE", right=True),
        Column("HELD", right=True),
        Column("FAILED", right=True),
    ]
    length = id_length(queue.route_id for queue in queues)
    rows = [
        [
            queue.destination,
            queue.via,
            queue.route_id[:length],
            count_text(queue.waiting_count),
            size_text(queue.waiting_bytes) if queue.waiting_count else "",
            _seconds_ago(datetime_of(queue.oldest_time), now) if queue.HasField("oldest_time") else "-",
            count_text(queue.active_count),
            size_text(queue.active_bytes) if queue.active_count else "",
            share_text(queue.moved_bytes, queue.active_bytes),
            rate_text(queue.bytes_per_second) if queue.active_count else "-",
            count_text(queue.held_count),
            count_text(queue.failed_count),
        ]
        for queue in queues
    ]
    output.line()
    output.table(columns, rows)
    if any(queue.failed_count for queue in queues):
        output.line("  `librarian transfer ls --state failed` tells which failed and why")


def _print_held(flow: transfer_pb2.GetTransferStatusResponse, now: datetime, output: Output) -> None:
    count = max(len(flow.held), sum(queue.held_count for queue in flow.queues))
    output.line()
    told = output.judged(f"{counted(count, 'transfer')} held", Verdict.DOUBTFUL)
    output.line(f"{told}: a person has to look, then `librarian transfer retry`")
    for transfer in flow.held[:SHOWN_HELD]:
        since = since_text(datetime_of(transfer.state_time), now)
        output.line(f"  {printable(transfer.name)} to {transfer.destination}, since {since}")
        print_trouble(transfer.error, output, indent="    ")
    if count > SHOWN_HELD:
        output.line(f"  and {count - SHOWN_HELD:,} more: `librarian transfer ls --state held`")


def _print_incoming(incoming: Sequence[transfer_pb2.IncomingStatus], now: datetime, output: Output) -> None:
    columns = [
        Column("FROM"),
        Column("COMING IN", right=True),
        Column("", right=True),
        Column("REFUSED", right=True),
        Column("LAST RECEIPT"),
    ]
    rows = [
        [
            one.peer or "here",
            count_text(one.active_count),
            size_text(one.active_bytes) if one.active_count else "",
            count_text(one.refused_count),
            f"{_seconds_ago(datetime_of(one.last_receipt_time), now)} ago"
            if one.HasField("last_receipt_time")
            else "-",
        ]
        for one in incoming
    ]
    output.line()
    output.table(columns, rows)
    if any(one.refused_count for one in incoming):
        output.line("  `librarian transfer ls --incoming --state refused` tells which and why")


def _seconds_ago(moment: datetime, now: datetime) -> str:
    return duration_text(max(0.0, (now - moment).total_seconds()))
