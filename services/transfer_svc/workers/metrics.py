"""What a worker counts."""

from __future__ import annotations

from svckit.telemetry import Metrics


class WorkMetrics:
    """`ended`: ingests by the state they ended in; `troubles`: postponements by their reason;
    `batch_count`: batches under way.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.ended = metrics.counter("ingests_ended", "Ingests that ended, by how.", ("state",))
        self.ingested_bytes = metrics.counter("ingested_bytes", "Bytes of published ingests.")
        self.troubles = metrics.counter(
            "ingest_troubles", "Ingests put off for passing trouble, by its reason.", ("reason",)
        )
        self.batch_count = metrics.gauge("ingest_batches", "Batches this worker has under way.")
