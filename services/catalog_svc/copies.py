"""Facts about copies on this site's stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge, DatasetNotFound, InvalidInput, LibrarianError
from librarian.messages import datetime_of, item_error, microseconds
from librarian.names import check_store_name

from .columns import MAX_BATCH, check_uid, is_storable
from .context import Context
from .lifecycle import ReplicaEvent, ReplicaState, event_of_report
from .queries import log, publishing, replicas
from .queries.kit import Bare
from .reports import Copy, Happening, Key, Report, added, after

MAX_REASON_BYTES = 4096


async def update_replicas(context: Context, request: pb.UpdateReplicasRequest) -> pb.UpdateReplicasResponse:
    """Raises BatchTooLarge, InvalidInput, RequestIdReused."""
    if len(request.updates) > MAX_BATCH:
        raise BatchTooLarge(
            f"{len(request.updates)} updates are more than one batch may have",
            remedy=f"send at most {MAX_BATCH} in a batch",
            limit=MAX_BATCH,
        )

    async def action(connection: Bare) -> pb.UpdateReplicasResponse:
        refused: dict[int, LibrarianError] = {}
        reports: dict[int, Report] = {}
        for index, update in enumerate(request.updates):
            try:
                reports[index] = _report(update)
            except LibrarianError as error:
                refused[index] = error
        now_us = context.now_us()
        happenings = await apply_reports(connection, reports, refused, now_us)
        if happenings:
            await log.append(connection, happenings, now_us)
        context.faults.hit("catalog.replicas_updated")
        response = pb.UpdateReplicasResponse()
        for index in sorted(refused):
            response.verdicts.add(index=index, error=item_error(refused[index]))
        return response

    return await context.once(
        "UpdateReplicas", request.request_id, request, pb.UpdateReplicasResponse, action
    )


async def apply_reports(
    connection: Bare, reports: dict[int, Report], refused: dict[int, LibrarianError], now_us: int
) -> list[Happening]:
    """Writes what the reports, in their order, make of the copies; answers what to log.

    Those that do not fit go to `refused`, by their number. Several may speak of one copy.
    """
    known = await publishing.known(connection, [report.key[0] for report in reports.values()])
    first = {report.key: report for report in reversed(reports.values()) if report.key[0] in known}
    newcomers = [report for report in first.values() if _can_be_new(report)]
    new = await replicas.add(
        connection,
        [report.key[0] for report in newcomers],
        [report.key[1] for report in newcomers],
        [report.verified_us or now_us for report in newcomers],
        now_us,
    )
    rows = await replicas.lock(connection, [uid for uid, _ in first], [store for _, store in first])
    copies = {
        (uid, store): Copy(ReplicaState(state), reason, verified_us)
        for uid, store, state, reason, verified_us in rows
    }
    before, happenings = dict(copies), list[Happening]()
    for index, report in reports.items():
        try:
            if report.key[0] not in known:
                raise DatasetNotFound(f"no dataset has the uid {report.key[0]}", uid=report.key[0])
            is_new = report.key in new
            new.discard(report.key)
            copies[report.key], happening = added(report) if is_new else after(copies.get(report.key), report)
            happenings += [happening] if happening else []
        except LibrarianError as error:
            refused[index] = error
    changed = [key for key, copy in copies.items() if before.get(key) != copy]
    await _write(connection, changed, [copies[key] for key in changed], now_us)
    return happenings


def _can_be_new(report: Report) -> bool:
    return report.event in {ReplicaEvent.VERIFIED, ReplicaEvent.ADOPTED}


async def _write(connection: Bare, keys: Sequence[Key], copies: Iterable[Copy], now_us: int) -> None:
    if keys:
        now = list(copies)
        await replicas.change(
            connection,
            keys,
            [copy.state for copy in now],
            [copy.reason for copy in now],
            [copy.verified_us for copy in now],
            now_us,
        )


def _report(update: pb.ReplicaUpdate) -> Report:
    check_uid(update.uid)
    check_store_name(update.store)
    reason = update.state_reason
    if not is_storable(reason) or len(reason.encode()) > MAX_REASON_BYTES:
        raise InvalidInput(
            "state_reason cannot be kept",
            remedy=f"at most {MAX_REASON_BYTES} bytes, without NUL characters",
            field="state_reason",
        )
    verified = microseconds(datetime_of(update.verify_time)) if update.HasField("verify_time") else None
    item = f"of {update.uid} on {update.store}"
    event = event_of_report(update.state, verified=verified is not None, item=item)
    return Report((update.uid, update.store), event, reason, verified)
