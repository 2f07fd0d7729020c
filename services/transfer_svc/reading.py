"""GetIngest, ListIngests, WaitIngests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from librarian.errors import InvalidPageToken, LibrarianError
from svckit.auth import Caller
from svckit.paging import decode_page_token, encode_page_token, page_size
from transfer_svc import queries, rules
from transfer_svc.context import Context, may_act, owner_of
from transfer_svc.lifecycle import FINAL
from transfer_svc.messages import no_such_ingest
from transfer_svc.values import Ingest
from transfer_svc.waiting import Waiting, first_of

# A notification is a hint: one may be lost with its connection. The truth is looked at this often (s).
_LOOK_AGAIN: Final = 5.0


async def get_ingest(context: Context, caller: Caller, ingest_id: str) -> Ingest:
    """Raises IngestNotFound, for those of others too."""
    found = (await _read(context, caller, [ingest_id])).get(ingest_id)
    if found is None:
        raise no_such_ingest(ingest_id)
    return found


async def list_ingests(
    context: Context, caller: Caller, *, states: Sequence[int], size: int, token: str
) -> tuple[list[Ingest], str]:
    """A page, newest first, and the token of the next one."""
    limit = page_size(size)
    binding = repr((caller.subject, sorted(states))).encode()
    after = _position(token, binding) if token else ""
    async with context.database.transaction() as connection:
        found = await queries.list_ingests(
            connection, owner_of(caller), states=states, after=after, limit=limit + 1
        )
    page = found[:limit]
    return page, encode_page_token([page[-1].ingest_id], binding=binding) if len(found) > limit else ""


def _position(token: str, binding: bytes) -> str:
    match decode_page_token(token, binding=binding):
        case [str(ingest_id)] if rules.can_be_id(ingest_id):
            return ingest_id
    raise InvalidPageToken("the page token is garbled")


async def wait_ingests(
    context: Context,
    waiting: Waiting,
    stopping: asyncio.Event,
    caller: Caller,
    ids: Sequence[str],
    timeout_ms: int,
) -> dict[str, Ingest | LibrarianError]:
    """The ingests as they are once one of them is final (or unknown), or when the time is over."""
    rules.check_batch(len(ids))
    end = context.clock.monotonic() + rules.wait_seconds(timeout_ms)
    with waiting.watching(ids) as ended:
        while True:
            ended.clear()
            found = await _read(context, caller, ids)
            left = end - context.clock.monotonic()
            done = (
                not ids or len(found) < len(set(ids)) or any(each.state in FINAL for each in found.values())
            )
            if done or left <= 0 or stopping.is_set():
                return dict(found)
            await first_of(ended, stopping, seconds=min(left, _LOOK_AGAIN))


async def _read(context: Context, caller: Caller, ids: Sequence[str]) -> dict[str, Ingest]:
    async with context.database.hot() as connection:
        found = await queries.fetch_ingests(connection, [uid for uid in ids if rules.can_be_id(uid)])
    return {uid: each for uid, each in found.items() if may_act(caller, each)}
