"""Members of datasets about to be published."""

from __future__ import annotations

from collections.abc import AsyncIterator

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge

from .columns import MAX_BATCH, check_uid
from .context import Context
from .membercolumns import MemberColumns
from .queries import members, publishing


async def add_members(context: Context, requests: AsyncIterator[pb.AddMembersRequest]) -> int:
    """How many members the datasets named in the stream have now.

    One transaction for every few thousand: what a broken stream has brought stays, and is sent again to
    no effect. Members of a dataset that is catalogued already are passed over.
    """
    uids: set[str] = set()
    columns = MemberColumns()
    async for request in requests:
        check_uid(request.uid)
        uids.add(request.uid)
        if len(uids) > MAX_BATCH:
            raise BatchTooLarge(
                "one stream brings members of too many datasets",
                remedy=f"send those of at most {MAX_BATCH} datasets in a stream",
                limit=MAX_BATCH,
            )
        for member in request.members:
            columns.add(request.uid, member)
            if len(columns) == MAX_BATCH:
                await _put(context, columns)
                columns = MemberColumns()
    if len(columns):
        await _put(context, columns)
    async with context.database.hot() as connection:
        return sum((await members.count(connection, list(uids))).values())


async def _put(context: Context, columns: MemberColumns) -> None:
    uids = sorted(set(columns.uids))
    async with context.database.hot() as connection, connection.transaction():
        await members.note_pending(connection, uids, context.now_us())
        published = await publishing.known(connection, uids)
        if published:
            await members.end_pending(connection, list(published))
        await members.put(connection, columns.last_words(published))
