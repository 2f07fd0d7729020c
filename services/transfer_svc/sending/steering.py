"""What people do to transfers: retry, cancel, prioritize. One transaction each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import BatchTooLarge, IllegalTransition, InvalidInput, LibrarianError, TransferNotFound
from librarian.globs import compile_glob
from librarian.messages import item_error
from svckit.auth import Caller
from svckit.idempotency import once
from transfer_svc.context import Context
from transfer_svc.querykit import bare
from transfer_svc.rules import can_be_id
from transfer_svc.sending import changes, route_queries, rules
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.means import SendingChannels
from transfer_svc.sending.messages import transfer_to_proto
from transfer_svc.sending.route_queries import Selection
from transfer_svc.tables import requests

_MOST = 1000
_MOST_GLOBS = 100
_S = TransferState
R = TypeVar("R", bound=Message)
# What is done, given the connection and the selection; how many transfers it changed.
_Act = Callable[[AsyncConnection, Selection], Awaitable[int]]


def selection_of(asked: pb.TransferSelection, caller: Caller) -> Selection:
    """Raises InvalidInput for one that is empty, InvalidGlob, BatchTooLarge."""
    if len(asked.transfer_ids) > _MOST:
        raise BatchTooLarge(f"{len(asked.transfer_ids)} transfers; {_MOST} are allowed", limit=_MOST)
    limit = regex_of(caller.name_prefix)
    if asked.transfer_ids:
        return Selection([each for each in asked.transfer_ids if can_be_id(each)], limit_regex=limit)
    if not (asked.destination or asked.name_glob or asked.name_globs or asked.route_id):
        raise InvalidInput(
            "no transfers are selected", remedy="name some, or a destination", field="selection"
        )
    return Selection(
        destination=asked.destination,
        name_regex=regex_of(asked.name_glob),
        route_id=asked.route_id,
        limit_regex=limit,
        name_regexes=regexes_of(asked.name_globs),
    )


def regex_of(glob: str) -> str:
    return compile_glob(glob).sql_regex if glob else ""


def regexes_of(globs: Sequence[str]) -> list[str]:
    """Raises InvalidGlob, also for an empty one, and BatchTooLarge."""
    if len(globs) > _MOST_GLOBS:
        raise BatchTooLarge(f"{len(globs)} names and globs; {_MOST_GLOBS} are allowed", limit=_MOST_GLOBS)
    return [compile_glob(glob).sql_regex for glob in globs]


async def retry(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.RetryTransfersRequest
) -> pb.RetryTransfersResponse:
    async def act(connection: AsyncConnection, selection: Selection) -> int:
        message = f"{caller.subject} asked for it"
        now = context.clock.now()
        count = await route_queries.retry(connection, selection, message, now=now, channel=channels.moved)
        await changes.notify(await bare(connection), channels.queue)
        return count

    after = (_S.QUEUED, _S.PLANNED, _S.OFFERED, _S.MOVING, _S.DELIVERED)
    return await _steer(context, caller, request, pb.RetryTransfersResponse, act, after, "tried again")


async def cancel(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.CancelTransfersRequest
) -> pb.CancelTransfersResponse:
    async def act(connection: AsyncConnection, selection: Selection) -> int:
        message = f"{caller.subject} cancelled it" + (f": {request.reason[:500]}" if request.reason else "")
        now = context.clock.now()
        count, batch_ids = await route_queries.cancel(
            connection, selection, message, now=now, channel=channels.moved
        )
        # A notification carries less than 8000 bytes.
        named = batch_ids.split(",") if batch_ids else []
        for start in range(0, len(named), 200):
            await changes.notify(await bare(connection), channels.queue, ",".join(named[start : start + 200]))
        return count

    return await _steer(
        context, caller, request, pb.CancelTransfersResponse, act, (_S.CANCELLED,), "cancelled"
    )


async def prioritize(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.PrioritizeTransfersRequest
) -> pb.PrioritizeTransfersResponse:
    rules.check_priority(request.priority)

    async def act(connection: AsyncConnection, selection: Selection) -> int:
        message = f"{caller.subject} gave it priority {request.priority}"
        now = context.clock.now()
        return await route_queries.prioritize(
            connection, selection, request.priority, message, now=now, channel=channels.moved
        )

    after = (_S.PLANNED, _S.QUEUED, _S.HELD)
    return await _steer(
        context, caller, request, pb.PrioritizeTransfersResponse, act, after, "prioritized any more"
    )


async def _steer(
    context: Context,
    caller: Caller,
    request: pb.RetryTransfersRequest | pb.CancelTransfersRequest | pb.PrioritizeTransfersRequest,
    response_type: type[R],
    act: _Act,
    after: Sequence[TransferState],
    what: str,
) -> R:
    """`after`: states that say it was done, or need not be."""
    selection = selection_of(request.selection, caller)

    async def action() -> R:
        count = await act(connection, selection)
        verdicts = []
        if request.selection.transfer_ids:
            found = await route_queries.fetch(await bare(connection), selection.ids)
            for asked in request.selection.transfer_ids:
                transfer = found.get(asked)
                error: LibrarianError | None = None
                if transfer is None or not caller.may_see(transfer.name):
                    error = TransferNotFound(f"there is no transfer {asked[:80]}", transfer_id=asked[:80])
                elif transfer.state not in after:
                    state = TransferState(transfer.state).name
                    error = IllegalTransition(
                        f"transfer {asked} is {state} and cannot be {what}", state=state
                    )
                if error is not None:
                    verdicts.append(pb.TransferVerdict(error=item_error(error)))
                else:
                    assert transfer is not None
                    verdicts.append(pb.TransferVerdict(transfer=transfer_to_proto(transfer)))
        return response_type(changed_count=count, verdicts=verdicts)

    async with context.database.transaction() as connection:
        return await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method=type(request).__name__,
            request=request,
            response_type=response_type,
            now=context.clock.now(),
            action=action,
        )
