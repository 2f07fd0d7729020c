"""Sums over the live catalogue, folded from the event log in the background.

Each scope (a glob of names, "" for all) remembers up to which event it is folded. A scope that nobody
has asked about before is folded from the beginning, once; after that it costs what is new.
"""

from __future__ import annotations

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import Unavailable
from svckit.auth import current_caller

from .context import Context
from .filters import Names
from .messages import summary
from .queries import log, sums

FOLD_SECONDS = 5.0
# On a quiet site nothing is written more often than this only to say that nothing was new.
_QUIET_US = 30_000_000
_STEP_EVENTS = 20_000
_PATIENCE_SECONDS = 20.0


async def get_summary(context: Context) -> pb.GetSummaryResponse:
    """Of what the caller may see. Raises Unavailable where a prefix is being counted for the first time
    and that takes long.
    """
    scope = current_caller().name_prefix
    deadline = context.clock.monotonic() + _PATIENCE_SECONDS
    while True:
        mark = context.folded.mark()
        async with context.database.hot() as connection, connection.transaction():
            since_us = await sums.ask(connection, scope, context.now_us())
            if since_us is not None:
                return summary(await sums.sums(connection, scope), since_us)
        context.wants_sums.set()
        left = deadline - context.clock.monotonic()
        if left <= 0 or not await context.folded.wait(mark, left):
            raise Unavailable(f"what matches {scope or '**'} is being counted for the first time")


async def fold_all(context: Context) -> None:
    """Brings the sums of every scope up to date."""
    async with context.database.hot() as connection:
        scopes = await sums.scopes(connection)
    for scope in scopes:
        more = True
        while more:
            more = await _fold_step(context, scope)
    context.folded.ring()


async def _fold_step(context: Context, scope: str) -> bool:
    """One transaction; whether there is more to fold."""
    names = Names().matching(scope) if scope else Names()
    async with context.database.hot() as connection, connection.transaction():
        claimed = await sums.claim(connection, scope)
        if claimed is None:
            return False
        folded, since_us = claimed
        now_us = context.now_us()
        last = (await log.head(connection)).sequence
        upto = min(last, folded + _STEP_EVENTS)
        if upto > folded:
            await sums.fold(connection, scope, names, folded, upto)
        if upto > folded or now_us - since_us > _QUIET_US:
            await sums.progress(connection, scope, upto, now_us if upto == last else None)
        return upto < last
