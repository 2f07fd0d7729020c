"""CommitIngests and AbortIngests: one transaction each; the workers do the rest."""

from __future__ import annotations

from collections.abc import Sequence

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import AlgorithmNotAllowed, IngestClosed, LibrarianError, NothingStaged
from svckit.auth import Caller
from svckit.idempotency import once
from transfer_svc import queries, rules
from transfer_svc.context import Context, may_act, owner_of
from transfer_svc.lifecycle import IngestState
from transfer_svc.messages import ingest_verdicts
from transfer_svc.querykit import Bare, bare
from transfer_svc.tables import requests
from transfer_svc.values import Ingest

_COMMITTED = frozenset(
    {IngestState.COMMITTING, IngestState.STORED, IngestState.PUBLISHED, IngestState.FAILED}
)


async def commit_ingests(
    context: Context, caller: Caller, request: pb.CommitIngestsRequest
) -> pb.CommitIngestsResponse:
    """Hands staged bytes over. Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    rules.check_batch(len(request.items))
    now = context.clock.now()

    async def hand_over() -> pb.CommitIngestsResponse:
        found = await _hand_over(context, await bare(connection), caller, request.items)
        ids = [item.ingest_id for item in request.items]
        return pb.CommitIngestsResponse(verdicts=ingest_verdicts(ids, found))

    context.faults.hit("commit.begin")
    async with context.database.transaction() as connection:
        response = await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="CommitIngests",
            request=request,
            response_type=pb.CommitIngestsResponse,
            now=now,
            action=hand_over,
        )
        context.faults.hit("commit.written")
    context.faults.hit("commit.committed")
    return response


async def _hand_over(
    context: Context, connection: Bare, caller: Caller, items: Sequence[pb.CommitIngestItem]
) -> dict[str, Ingest | LibrarianError]:
    results: dict[str, Ingest | LibrarianError] = {}
    claims = {}
    for item in items:
        try:
            rules.check_claim(
                item.digest.algorithm,
                item.digest.value,
                item.size_bytes,
                item.member_count,
                ingest_id=item.ingest_id[:80],
            )
            if rules.can_be_id(item.ingest_id):
                claims[item.ingest_id] = item
        except LibrarianError as error:
            results[item.ingest_id] = error
    if not claims:
        return results
    rows = [
        (uid, item.digest.algorithm, item.digest.value, item.size_bytes, item.member_count)
        for uid, item in claims.items()
    ]
    handed = await queries.commit_ingests(connection, owner_of(caller), rows, context.clock.now())
    if handed:
        await queries.call_workers(connection, context.channels.work)
    results |= handed
    left = [uid for uid in claims if uid not in handed]
    if left:
        found = await queries.fetch_ingests(connection, left)
        for uid in left:
            ingest = found.get(uid)
            if ingest is not None and may_act(caller, ingest):
                results[uid] = _why_not(ingest, claims[uid]) or ingest
    return results


def _why_not(ingest: Ingest, item: pb.CommitIngestItem) -> LibrarianError | None:
    """Why this ingest was not handed over; None: it was before, with the same claim."""
    uid, name = ingest.ingest_id, ingest.name
    if ingest.state == IngestState.OPEN:
        if not ingest.store:
            return NothingStaged(f"ingest {uid} of {name} was never opened on a store", ingest_id=uid)
        return AlgorithmNotAllowed(
            f"ingest {uid} of {name} was begun with {ingest.algorithm}",
            remedy=f"claim a {ingest.algorithm} digest, or begin again with another algorithm",
            ingest_id=uid,
        )
    if ingest.state not in _COMMITTED:
        state = IngestState(ingest.state).name
        return IngestClosed(f"ingest {uid} of {name} is {state}", ingest_id=uid, state=state)
    claimed = (item.digest.algorithm, item.digest.value, item.size_bytes, item.member_count)
    if claimed != (ingest.algorithm, ingest.digest, ingest.claimed_bytes, ingest.member_count):
        return IngestClosed(f"ingest {uid} of {name} was committed with another claim", ingest_id=uid)
    return None


async def abort_ingests(
    context: Context, caller: Caller, request: pb.AbortIngestsRequest
) -> pb.AbortIngestsResponse:
    """Gives OPEN ingests up. Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    asked = list(request.ingest_ids)
    ids = [uid for uid in asked if rules.can_be_id(uid)]
    rules.check_batch(len(asked))
    now = context.clock.now()

    async def give_up() -> pb.AbortIngestsResponse:
        found: dict[str, Ingest | LibrarianError] = {}
        driver = await bare(connection)
        aborted = await queries.abort_ingests(driver, owner_of(caller), ids, now)
        if aborted:
            await queries.call_workers(driver, context.channels.work)
        left = await queries.fetch_ingests(driver, [uid for uid in ids if uid not in aborted])
        found |= {uid: each for uid, each in left.items() if may_act(caller, each)}
        found |= aborted
        return pb.AbortIngestsResponse(verdicts=ingest_verdicts(asked, found))

    async with context.database.transaction() as connection:
        response = await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="AbortIngests",
            request=request,
            response_type=pb.AbortIngestsResponse,
            now=now,
            action=give_up,
        )
    context.faults.hit("abort.committed")
    return response
