"""Datasets become visible: publishing and registering.

The order within the one transaction: put the rows in (a name that another transaction is just taking is
waited for), find out about those that did not get in, then lock the log and look for live names around
and inside. Whoever holds that lock sees all that was published before and keeps it to the commit: of
`a/b` and `a/b/c` published at once, the later to get it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import LibrarianError, MembersIncomplete
from librarian.manifests import DatasetKind
from librarian.messages import item_error
from librarian.names import printable

from .columns import Batch, read_columns
from .context import Context
from .copies import apply_reports
from .judging import Verdict, judge
from .lifecycle import ReplicaEvent
from .naming import clashes_within, directories, is_prefix
from .queries import log, members
from .queries import publishing as queries
from .queries.kit import Bare
from .reports import Happening, Report


async def publish_datasets(
    context: Context, request: pb.PublishDatasetsRequest
) -> pb.PublishDatasetsResponse:
    """Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    batch, refused = read_columns(request.datasets, request.stores)

    async def action(connection: Bare) -> pb.PublishDatasetsResponse:
        await queries.end_reservations(connection, batch.uids)
        verdicts = {position: Verdict(error=error) for position, error in refused.items()}
        verdicts |= await _publish(context, connection, batch, adopting=False)
        response = pb.PublishDatasetsResponse()
        for position in range(len(request.stores)):
            _fill(response.verdicts.add(), position, verdicts[position])
        return response

    response = await context.once(
        "PublishDatasets", request.request_id, request, pb.PublishDatasetsResponse, action
    )
    context.faults.hit("catalog.published")
    return response


async def register_batch(
    context: Context, request: pb.RegisterDatasetsRequest
) -> pb.RegisterDatasetsResponse:
    """Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    batch, refused = read_columns(request.datasets, [request.store] * len(request.datasets.uid))

    async def action(connection: Bare) -> pb.RegisterDatasetsResponse:
        verdicts = {position: Verdict(error=error) for position, error in refused.items()}
        verdicts |= await _publish(context, connection, batch, adopting=True)
        response = pb.RegisterDatasetsResponse(request_id=request.request_id)
        for position, verdict in sorted(verdicts.items()):
            if verdict.published:
                response.published_count += 1
            else:
                _fill(response.verdicts.add(), position, verdict)
        return response

    response = await context.once(
        "RegisterDatasets", request.request_id, request, pb.RegisterDatasetsResponse, action
    )
    context.faults.hit("catalog.registered")
    return response


async def _publish(context: Context, connection: Bare, batch: Batch, *, adopting: bool) -> dict[int, Verdict]:
    """A verdict for each dataset of the batch, by its position in the request.

    `adopting`: bytes of a dataset that was there already stay where they are and become a replica, also
    where they came under another uid. Under its own uid they do in any case.
    """
    now_us = context.now_us()
    fresh, errors = await _sort_out(connection, batch)
    # Inserting in one order keeps two publishers from waiting for each other in a circle.
    new = batch.choose(sorted(fresh, key=batch.keys.__getitem__))
    entered = await queries.insert_datasets(connection, new, now_us)
    context.faults.hit("catalog.datasets_inserted")
    if entered is not None:
        new = new.choose([index for index, key in enumerate(new.keys) if key in entered])
    verdicts = {
        position: Verdict(uid, published=True) for position, uid in zip(new.positions, new.uids, strict=True)
    }
    rest = [index for index, position in enumerate(batch.positions) if position not in verdicts]
    happenings: list[Happening] = []
    if rest:
        keys, uids = [batch.keys[index] for index in rest], [batch.uids[index] for index in rest]
        others = judge(batch, rest, await queries.holders(connection, keys, uids), errors)
        staying = [
            index
            for index, verdict in others.items()
            if verdict.error is None and (adopting or verdict.uid == batch.uids[index])
        ]
        happenings = await _adopt(connection, batch, staying, others, now_us)
        verdicts |= {batch.positions[index]: verdict for index, verdict in others.items()}
    if new.uids:
        gone = await _take_back_late(connection, new)
        verdicts = {
            position: Verdict(error=gone[verdict.uid]) if verdict.uid in gone else verdict
            for position, verdict in verdicts.items()
        }
        new = new.choose([index for index, uid in enumerate(new.uids) if uid not in gone])
        await members.end_pending(connection, [new.uids[index] for index in _directories(new)])
    if new.uids:
        await log.append_publications(connection, new.uids, new.stores, now_us)
    if happenings:
        await log.append(connection, happenings, now_us)
    context.faults.hit("catalog.events_appended")
    return verdicts


async def _sort_out(connection: Bare, batch: Batch) -> tuple[list[int], dict[int, LibrarianError]]:
    """Which datasets of the batch may be put in together, and why some of the others may not."""
    errors = await _incomplete(connection, batch)
    # Of several with one uid only the first; the others are judged beside it.
    first = {uid: index for index, uid in reversed(list(enumerate(batch.uids)))}
    fresh = [index for index, uid in enumerate(batch.uids) if first[uid] == index and index not in errors]
    clashes = clashes_within([batch.keys[index] for index in fresh])
    if clashes:
        # What cannot come in anyway must not keep another of the same batch out.
        errors |= await _beside_live(connection, batch, fresh)
        fresh = [index for index in fresh if index not in errors]
        clashes = clashes_within([batch.keys[index] for index in fresh])
    for later, earlier in clashes.items():
        index, other = fresh[later], fresh[earlier]
        if batch.keys[index] != batch.keys[other]:
            errors[index] = is_prefix(batch.names[index], batch.names[other])
    return [index for place, index in enumerate(fresh) if place not in clashes], errors


async def _incomplete(connection: Bare, batch: Batch) -> dict[int, LibrarianError]:
    """Directories whose members were not all sent ahead; keeps the others' from being swept meanwhile."""
    indexes = _directories(batch)
    if not indexes:
        return {}
    uids = [batch.uids[index] for index in indexes]
    await members.lock_pending(connection, uids)
    counts = await members.count(connection, uids)
    errors: dict[int, LibrarianError] = {}
    for index in indexes:
        there, wanted = counts.get(batch.uids[index], 0), batch.member_counts[index]
        if there != wanted:
            name = printable(batch.names[index])
            errors[index] = MembersIncomplete(
                f"{name!r} has {wanted} members and {there} were sent",
                remedy="send all members with AddMembers, then publish again",
                name=batch.names[index],
                uid=batch.uids[index],
            )
    return errors


async def _beside_live(connection: Bare, batch: Batch, indexes: Sequence[int]) -> dict[int, LibrarianError]:
    """Those of these datasets that would lie around or inside of live ones."""
    keys = [batch.keys[index] for index in indexes]
    neighbours = await queries.names_around(connection, keys, list(directories(keys)))
    errors: dict[int, LibrarianError] = {}
    for index, key in zip(indexes, keys, strict=True):
        if (other := neighbours.of(key)) is not None:
            errors[index] = is_prefix(batch.names[index], other)
    return errors


async def _take_back_late(connection: Bare, new: Batch) -> dict[str, LibrarianError]:
    """Locks the log, and takes back what was put in beside live names; why, by uid."""
    await log.lock(connection)
    errors = await _beside_live(connection, new, range(len(new.uids)))
    gone = {new.uids[index]: error for index, error in errors.items()}
    if gone:
        await queries.take_back(connection, list(gone))
    return gone


async def _adopt(
    connection: Bare, batch: Batch, staying: Sequence[int], others: dict[int, Verdict], now_us: int
) -> list[Happening]:
    """Makes the bytes of what was there already replicas; verdicts of those that cannot be change."""
    if not staying:
        return []
    reports = {
        index: Report((others[index].uid, batch.stores[index]), ReplicaEvent.ADOPTED, verified_us=now_us)
        for index in staying
    }
    refused: dict[int, LibrarianError] = {}
    happenings = await apply_reports(connection, reports, refused, now_us)
    others |= {index: Verdict(error=error) for index, error in refused.items()}
    return happenings


def _directories(batch: Batch) -> list[int]:
    return [index for index, kind in enumerate(batch.kinds) if kind == DatasetKind.DIRECTORY]


def _fill(message: pb.PublishVerdict, position: int, verdict: Verdict) -> None:
    message.index = position
    message.uid = verdict.uid
    if verdict.error is not None:
        message.outcome = pb.PUBLISH_OUTCOME_REFUSED
        message.error.CopyFrom(item_error(verdict.error))
    elif verdict.published:
        message.outcome = pb.PUBLISH_OUTCOME_PUBLISHED
    else:
        message.outcome = pb.PUBLISH_OUTCOME_ALREADY_THERE
