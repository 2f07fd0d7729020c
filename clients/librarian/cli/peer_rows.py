"""Peers as lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from librarian.api.gateway.v1 import gateway_pb2
from librarian.cli.output import Column, Output
from librarian.cli.texts import duration_text, label, since_text, time_text
from librarian.messages import datetime_of
from librarian.names import printable

COLUMNS = (
    Column("PEER"),
    Column("LINK"),
    Column("SINCE"),
    Column("HEARD"),
    Column("CLOCK", right=True),
    Column("VERSION"),
    Column("ADDRESS"),
)
# A clock that is off by less is called right: the way of the answer is in it.
_CLOCK_MS = 1000


def print_peers(peers: Sequence[gateway_pb2.Peer], output: Output) -> None:
    now = datetime.now(UTC)
    output.table(COLUMNS, [_row(peer, now) for peer in peers])
    for peer in peers:
        if peer.link_reason:
            output.line(f"{peer.name}: {printable(peer.link_reason)}")


def link_text(peer: gateway_pb2.Peer) -> str:
    return label(gateway_pb2.LinkState.Name(peer.link_state), "LINK_STATE_")


def _row(peer: gateway_pb2.Peer, now: datetime) -> list[str]:
    return [
        peer.name,
        link_text(peer),
        since_text(datetime_of(peer.link_since_time), now) if peer.HasField("link_since_time") else "",
        time_text(datetime_of(peer.last_heard_time)) if peer.HasField("last_heard_time") else "",
        _clock(peer),
        printable(peer.version),
        peer.address or "none: it calls here",
    ]


def _clock(peer: gateway_pb2.Peer) -> str:
    offset = peer.clock_offset_ms
    if abs(offset) < _CLOCK_MS:
        return ""
    return f"{duration_text(abs(offset) / 1000)} {'ahead' if offset > 0 else 'behind'}"
