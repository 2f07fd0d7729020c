"""BeginIngests: write ingests down, ask the catalogue about their names, open them on stores.

Each outside call is preceded by the commit of what makes it repeatable: the ids before the catalogue
hears of them, the choice of a store before that store reserves anything. The same request again goes
on wherever the first one stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import IngestClosed, InvalidInput, LibrarianError, PathTaken
from librarian.messages import error_of, item_error, microseconds
from svckit.auth import Caller
from svckit.idempotency import once
from transfer_svc import queries, rules
from transfer_svc.context import Context, may_act
from transfer_svc.lifecycle import IngestState
from transfer_svc.messages import existing_dataset, no_such_ingest, spec_of
from transfer_svc.opening import Opening
from transfer_svc.outcomes import is_permanent
from transfer_svc.querykit import bare
from transfer_svc.rules import Spec
from transfer_svc.tables import requests
from transfer_svc.values import Ingest

Verdicts = dict[int, pb.BeginIngestVerdict]


async def begin_ingests(
    context: Context, caller: Caller, request: pb.BeginIngestsRequest
) -> pb.BeginIngestsResponse:
    """A verdict for each item. Raises BatchTooLarge, InvalidInput, RequestIdReused; and, where not one
    item got a verdict that stands, the passing trouble that they share.
    """
    rules.check_batch(len(request.items))
    rules.check_traceparent(request.traceparent)
    specs = [spec_of(item) for item in request.items]
    verdicts, ingests = await _write_down(context, caller, request, specs)
    context.faults.hit("begin.written")
    unplaced = {index: ingest for index, ingest in ingests.items() if not ingest.store}
    refused: list[tuple[str, str]] = []
    if unplaced:
        # The stores are asked meanwhile: what they say is kept for a moment.
        refused, _ = await asyncio.gather(_ask_catalog(context, unplaced, verdicts), context.stores.listing())
    context.faults.hit("begin.names_asked")
    opening = Opening(context, caller, only=request.store, subject_of=lambda ingest: ingest.uploader)
    await opening.run({index: ingest for index, ingest in ingests.items() if index not in verdicts})
    verdicts |= {index: refusal(error) for index, error in opening.errors.items()}
    for index, grant in opening.opened.items():
        told = pb.OpenIngest(ingest_id=ingests[index].ingest_id, grant=grant)
        verdicts[index] = pb.BeginIngestVerdict(open=told)
    refused += [(ingests[index].ingest_id, store) for index, store in opening.refused.items()]
    taken = {index: ingests[index] for index, error in opening.errors.items() if _is_held(error)}
    if taken:
        # Published since the catalogue was asked, perhaps: then it is there, and not taken.
        refused += await _ask_catalog(context, taken, verdicts)
    if refused:
        async with context.database.hot() as connection:
            await queries.discard_ingests(connection, refused)
        context.faults.hit("begin.refused_forgotten")
    _raise_if_nothing_stands(opening.errors.values(), len(specs))
    return pb.BeginIngestsResponse(
        verdicts=[verdicts[index] for index in range(len(specs))], grants=opening.grants
    )


def refusal(error: LibrarianError) -> pb.BeginIngestVerdict:
    return pb.BeginIngestVerdict(error=item_error(error))


def _is_held(error: LibrarianError) -> bool:
    """Whether a store holds a dataset at the path."""
    return isinstance(error, PathTaken) and bool(error.metadata.get("uid"))


def _raise_if_nothing_stands(errors: Iterable[LibrarianError], count: int) -> None:
    """All items met passing trouble: the call as a whole failed, and callers try those again."""
    passing = [error for error in errors if not is_permanent(error) and error.code.name in _TRY_AGAIN]
    if count and len(passing) == count:
        raise passing[0]


_TRY_AGAIN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


async def _write_down(
    context: Context, caller: Caller, request: pb.BeginIngestsRequest, specs: list[Spec]
) -> tuple[Verdicts, dict[int, Ingest]]:
    """Verdicts on items that are wrong in themselves; the other ingests, OPEN and committed."""
    now = context.clock.now()
    errors = {index: error for index, spec in enumerate(specs) if (error := _fault_of(spec, caller))}

    async def give_ids() -> pb.BeginIngestsResponse:
        return pb.BeginIngestsResponse(
            verdicts=[
                refusal(errors[index])
                if index in errors
                else pb.BeginIngestVerdict(
                    open=pb.OpenIngest(ingest_id=spec.ingest_id or context.ids.new_uid())
                )
                for index, spec in enumerate(specs)
            ]
        )

    async with context.database.transaction() as connection:
        noted = await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="BeginIngests",
            request=request,
            response_type=pb.BeginIngestsResponse,
            now=now,
            action=give_ids,
        )
        ids = {
            index: verdict.open.ingest_id
            for index, verdict in enumerate(noted.verdicts)
            if verdict.HasField("open")
        }
        fresh = [
            _row(uid, specs[index], request.traceparent, microseconds(now))
            for index, uid in ids.items()
            if not specs[index].ingest_id
        ]
        driver = await bare(connection)
        found: dict[str, Ingest] = {}
        if fresh:
            # Repeated, this leaves alone what is there, and brings back what was refused for the moment.
            found = await queries.insert_ingests(
                driver,
                fresh,
                uploader=caller.subject,
                token_id=caller.token_id,
                now=now,
                expire_time=now + context.lifetime,
            )
        others = [uid for uid in ids.values() if uid not in found and rules.can_be_id(uid)]
        if others:
            found |= await queries.fetch_ingests(driver, others)
    verdicts = {index: v for index, v in enumerate(noted.verdicts) if v.HasField("error")}
    ingests: dict[int, Ingest] = {}
    for index, uid in ids.items():
        wrong = _cannot_go_on(found.get(uid), uid, specs[index], caller)
        if wrong is None:
            ingests[index] = found[uid]
        else:
            verdicts[index] = refusal(wrong)
    return verdicts, ingests


def _fault_of(spec: Spec, caller: Caller) -> LibrarianError | None:
    try:
        rules.check_spec(spec)
        caller.check_name(spec.name)
    except LibrarianError as error:
        return error
    return None


def _row(uid: str, spec: Spec, traceparent: str, now_us: int) -> tuple[Any, ...]:
    """Values in the order of `queries.insert_ingests`."""
    return (
        uid,
        spec.name,
        spec.kind,
        spec.size_bytes,
        max(spec.inode_count, 1),
        rules.algorithm_of(spec.algorithm),
        rules.tags_json(spec.tags),
        now_us if spec.create_time_us is None else spec.create_time_us,
        traceparent or rules.traceparent_of(uid),
    )


def _cannot_go_on(ingest: Ingest | None, uid: str, spec: Spec, caller: Caller) -> LibrarianError | None:
    if ingest is None or not may_act(caller, ingest):
        return no_such_ingest(uid)
    if (ingest.name, ingest.kind) != (spec.name, spec.kind):
        return InvalidInput(
            f"ingest {uid} is of {ingest.name}, not of {spec.name}",
            remedy="go on with the same name and kind, or begin a new ingest",
            ingest_id=uid,
        )
    if ingest.state != IngestState.OPEN:
        state = IngestState(ingest.state).name
        return IngestClosed(f"ingest {uid} of {ingest.name} is {state}", ingest_id=uid, state=state)
    return None


async def _ask_catalog(
    context: Context, ingests: dict[int, Ingest], verdicts: Verdicts
) -> list[tuple[str, str]]:
    """Puts verdicts on names that are taken; answers those ingests, to be discarded."""
    indices = list(ingests)
    response = await context.catalog.ReserveNames(
        catalog_pb2.ReserveNamesRequest(
            request_id=context.ids.new_uid(),
            uids=[ingests[index].ingest_id for index in indices],
            names=[ingests[index].name for index in indices],
        )
    )
    refused = []
    for told in response.verdicts:
        index = indices[told.index]
        refused.append((ingests[index].ingest_id, ""))
        if told.HasField("error"):
            verdicts[index] = refusal(error_of(told.error))
        else:
            verdicts[index] = pb.BeginIngestVerdict(existing=existing_dataset(told.existing))
    return refused
