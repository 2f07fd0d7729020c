"""Following ingests until the site has decided all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from librarian.api.transfer.v1 import transfer_pb2
from librarian.connection.channel import WAIT_MS, WAIT_SECONDS
from librarian.connection.patience import keep_trying
from librarian.errors import LibrarianError
from librarian.ingest.context import PutContext
from librarian.ingest.planning import FINAL_STATES
from librarian.messages import error_of

# While somebody watches the verification of one dataset.
LOOK_MS = 500
# Ingests of a batch become final in bursts: asking again at once would answer with one of them.
BURST_SECONDS = 0.01

Verdicts = dict[str, transfer_pb2.Ingest | LibrarianError]


async def wait_until_final(context: PutContext, ingest_ids: Sequence[str]) -> Verdicts:
    """A final ingest, or the error the site answered for it, by ingest id."""
    verdicts: Verdicts = {}
    pending = list(ingest_ids)
    transfer = context.site.transfer
    while pending:
        request = transfer_pb2.WaitIngestsRequest(
            ingest_ids=pending, timeout_ms=LOOK_MS if context.alone else WAIT_MS
        )
        answer = await keep_trying(
            lambda request=request: context.site.unary(transfer.WaitIngests, request, timeout=WAIT_SECONDS),  # type: ignore[misc]
            context.patience(),
        )
        for ingest_id, verdict in zip(pending, answer.verdicts, strict=True):
            if verdict.HasField("error"):
                verdicts[ingest_id] = error_of(verdict.error)
            elif verdict.ingest.state in FINAL_STATES:
                verdicts[ingest_id] = verdict.ingest
            else:
                _show(context, verdict.ingest)
        pending = [ingest_id for ingest_id in pending if ingest_id not in verdicts]
        if pending:
            await asyncio.sleep(BURST_SECONDS)
    return verdicts


def _show(context: PutContext, ingest: transfer_pb2.Ingest) -> None:
    if context.alone:
        context.progress.set(done_bytes=min(ingest.verified_bytes, ingest.size_bytes))
        context.progress.held_up("")
    if ingest.HasField("error"):
        context.progress.held_up(f"{ingest.name}: {ingest.error.message}")
