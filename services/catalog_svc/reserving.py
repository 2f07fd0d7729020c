"""Asking whether names may be taken. Excludes nobody: of two who ask, the first to publish wins."""

from __future__ import annotations

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge, InvalidInput, LibrarianError
from librarian.messages import item_error
from svckit.auth import current_caller

from .columns import check_uid, checked_key
from .context import Context
from .messages import fill_dataset
from .naming import directories, is_prefix, normalises_alike
from .queries import publishing as queries
from .queries import reading
from .queries.kit import Bare

MAX_RESERVED = 1000


async def reserve_names(context: Context, request: pb.ReserveNamesRequest) -> pb.ReserveNamesResponse:
    """Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    keys, errors = _read(request)

    async def action(connection: Bare) -> pb.ReserveNamesResponse:
        wanted = list(keys.values())
        around = await queries.names_around(connection, wanted, list(directories(wanted)))
        found = await queries.holders(connection, wanted, [])
        holders = {holder.key: holder.identity.name for holder in found}
        for index, key in keys.items():
            name, holder = request.names[index], holders.get(key)
            if (other := around.of(key)) is not None:
                errors[index] = is_prefix(name, other)
            elif holder not in {None, name}:
                errors[index] = normalises_alike(name, holder)
        taken = [name for index, name in enumerate(request.names) if index not in errors]
        live = {row["name"]: row for row in await reading.live_among(connection, taken, [])}
        await _note(context, connection, request, {*errors})
        response = pb.ReserveNamesResponse()
        for index, name in enumerate(request.names):
            if index in errors:
                response.verdicts.add(index=index, error=item_error(errors[index]))
            elif name in live:
                fill_dataset(response.verdicts.add(index=index).existing, live[name])
        return response

    return await context.once("ReserveNames", request.request_id, request, pb.ReserveNamesResponse, action)


def _read(request: pb.ReserveNamesRequest) -> tuple[dict[int, str], dict[int, LibrarianError]]:
    """The keys of the names that can be taken at all, and why the others cannot, by position."""
    if len(request.names) > MAX_RESERVED:
        raise BatchTooLarge(
            f"{len(request.names)} names are more than one batch may have",
            remedy=f"reserve at most {MAX_RESERVED} at once",
            limit=MAX_RESERVED,
        )
    if len(request.names) != len(request.uids):
        raise InvalidInput(
            f"{len(request.names)} names come with {len(request.uids)} uids",
            remedy="send one uid a name",
            field="uids",
        )
    keys: dict[int, str] = {}
    errors: dict[int, LibrarianError] = {}
    for index, (uid, name) in enumerate(zip(request.uids, request.names, strict=True)):
        try:
            check_uid(uid)
            keys[index] = checked_key(name)
        except LibrarianError as error:
            errors[index] = error
    return keys, errors


async def _note(
    context: Context, connection: Bare, request: pb.ReserveNamesRequest, refused: set[int]
) -> None:
    noted = [index for index in range(len(request.names)) if index not in refused]
    await queries.reserve(
        connection,
        [request.uids[index] for index in noted],
        [request.names[index] for index in noted],
        subject=current_caller().subject,
        now_us=context.now_us(),
    )
