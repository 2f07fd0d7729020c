"""Finding datasets and members. A caller limited to a name prefix does not learn of anything outside."""

from __future__ import annotations

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge, DatasetNotFound, InvalidInput, InvalidPageToken
from librarian.names import check_name, printable
from svckit.auth import current_caller
from svckit.database import Database
from svckit.paging import decode_page_token, encode_page_token, page_size

from . import filters, messages
from .columns import is_storable, is_uid
from .queries import reading as queries
from .queries.kit import Rows

MAX_LOOKED_UP = 1000


async def get_dataset(database: Database, request: pb.GetDatasetRequest) -> Rows:
    """The dataset joined with its copies. Raises DatasetNotFound, NameOutsidePrefix, InvalidName."""
    caller = current_caller()
    if name := request.name:
        check_name(name)
        caller.check_name(name)
        async with database.hot() as connection:
            rows = await queries.live_by_name(connection, name)
        if not rows:
            raise DatasetNotFound(f"no live dataset is called {printable(name)!r}", name=printable(name))
        return rows
    if not request.uid:
        raise InvalidInput("neither name nor uid is given", remedy="say which dataset", field="key")
    if is_uid(request.uid):
        async with database.hot() as connection:
            rows = await queries.by_uid(connection, request.uid)
        if rows and caller.may_see(rows[0]["name"]):
            return rows
    raise _no_such_uid(request.uid)


async def batch_get(database: Database, request: pb.BatchGetDatasetsRequest) -> pb.BatchGetDatasetsResponse:
    """Raises BatchTooLarge."""
    wanted = len(request.names) + len(request.uids)
    if wanted > MAX_LOOKED_UP:
        raise BatchTooLarge(
            f"{wanted} datasets are asked for at once",
            remedy=f"ask for at most {MAX_LOOKED_UP}",
            limit=MAX_LOOKED_UP,
        )
    caller = current_caller()
    names = [name for name in request.names if is_storable(name) and caller.may_see(name)]
    uids = [uid for uid in request.uids if is_uid(uid)]
    async with database.hot() as connection:
        rows = await queries.live_among(connection, names, uids)
        rows = [row for row in rows if caller.may_see(row["name"])]
        copies = await queries.copies_of(connection, [row["uid_text"] for row in rows])
    response = pb.BatchGetDatasetsResponse()
    messages.fill_datasets(response.datasets, rows, copies)
    found = {dataset.name for dataset in response.datasets} | {dataset.uid for dataset in response.datasets}
    response.missing.extend(key for key in (*request.names, *request.uids) if key not in found)
    return response


async def list_datasets(database: Database, request: pb.ListDatasetsRequest) -> pb.ListDatasetsResponse:
    """Raises InvalidPageToken, InvalidInput, InvalidGlob."""
    limit = current_caller().name_prefix
    binding = filters.binding(request.filter, request.order, limit)
    cursor = decode_page_token(request.page_token, binding=binding) if request.page_token else None
    listing = filters.plan(request.filter, request.order, limit, cursor)
    size = page_size(request.page_size)
    async with database.hot() as connection:
        # One more than fits tells whether there is another page.
        rows = await queries.list_datasets(connection, listing, size + 1)
        page, more = rows[:size], len(rows) > size
        wanted = [row["uid_text"] for row in page] if request.with_replicas else []
        copies = await queries.copies_of(connection, wanted) if wanted else []
    response = pb.ListDatasetsResponse()
    messages.fill_datasets(response.datasets, page, copies)
    if more:
        last = page[-1]
        keys = filters.last_keys(
            request.order, uid=last["uid_text"], name=last["name"], create_time_us=last["create_time_us"]
        )
        response.next_page_token = encode_page_token(keys, binding=binding)
    return response


async def list_members(database: Database, request: pb.ListMembersRequest) -> pb.ListMembersResponse:
    """Raises DatasetNotFound, InvalidPageToken, InvalidGlob."""
    binding = f"{request.uid}\0{request.path_glob}".encode()
    last = _last_path(request.page_token, binding)
    paths = filters.Names()
    if request.path_glob:
        paths = paths.matching(request.path_glob)
    size = page_size(request.page_size)
    rows: Rows = []
    async with database.hot() as connection:
        name = await queries.name_of(connection, request.uid) if is_uid(request.uid) else None
        visible = name is not None and current_caller().may_see(name)
        if visible:
            rows = await queries.list_members(connection, request.uid, paths, last, size + 1)
    if not visible:
        raise _no_such_uid(request.uid)
    response = pb.ListMembersResponse()
    for row in rows[:size]:
        messages.fill_member(response.members.add(), row)
    if len(rows) > size:
        response.next_page_token = encode_page_token([response.members[-1].path], binding=binding)
    return response


def _last_path(page_token: str, binding: bytes) -> str:
    if not page_token:
        return ""
    match decode_page_token(page_token, binding=binding):
        case [str(path)] if is_storable(path):
            return path
    raise InvalidPageToken("the page token holds no path")


def _no_such_uid(uid: str) -> DatasetNotFound:
    return DatasetNotFound(f"no dataset has the uid {printable(uid)!r}", uid=printable(uid))
