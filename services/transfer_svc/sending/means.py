"""What sending works with in a worker; made once at start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from svckit.telemetry import Metrics
from svckit.tracing import Tracing
from transfer_svc.context import Context


@dataclass(frozen=True, slots=True)
class SendingChannels:
    """NOTIFY channels. `queue`: something is to be sent or planned, or routes changed; its payload names
    batches of which something was cancelled. `moved` carries ids of transfers that changed. Both joined by
    commas.
    """

    queue: str
    moved: str

    @classmethod
    def of_schema(cls, schema: str) -> SendingChannels:
        return cls(f"{schema}_queue", f"{schema}_moved")


class SendingMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self.ended = metrics.counter("transfers_ended", "Transfers that ended here, by how.", ("state",))
        self.sent_bytes = metrics.counter("sent_bytes", "Bytes of verified transfers.")
        self.troubles = metrics.counter(
            "transfer_troubles", "Transfers put off or held, by the reason.", ("reason",)
        )
        self.planned = metrics.counter("transfers_planned", "Transfers planned.")
        self.batch_count = metrics.gauge("transfer_batches", "Batches this worker has under way.")


@dataclass(frozen=True, slots=True)
class Means:
    """`owner` names this process in leases, which last for `ttl`. `rand`: numbers in [0, 1)."""

    context: Context
    channels: SendingChannels
    owner: str
    ttl: timedelta
    poll_seconds: float
    rand: Callable[[], float]
    metrics: SendingMetrics
    tracing: Tracing
