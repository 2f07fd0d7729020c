"""How the writing of transfers goes: rows, their log and the word to those who watch, in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from svckit.database import compile_hot
from svckit.locking import in_order, locked
from transfer_svc.querykit import Bare, arrays
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.tables import batches, transfer_log, transfers
from transfer_svc.sending.values import Batch

TIME: Final = DateTime(timezone=True)
NOW: Final = bindparam("now", type_=TIME)
# 36 characters and a comma each; a notification carries less than 8000 bytes.
_IDS_A_NOTIFICATION: Final = 200
LOG_COLUMNS: Final = ["transfer_id", "time", "state", "event", "reason", "message"]


def in_state(*states: TransferState) -> ColumnElement[bool]:
    """As constants of the statement's text, so that the partial indexes are of use to every plan."""
    return transfers.c.state.in_([constant(state) for state in states])


def constant(number: int) -> ColumnElement[Any]:
    return literal_column(str(int(number)), SmallInteger)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one transfer of a batch in hand, and what its log says of it."""

    transfer_id: str
    before: TransferState
    after: TransferState
    event: str
    upload_id: str = ""
    attempt_count: int = 0
    moved_bytes: int = 0
    error_json: str = ""
    reason: str = ""
    message: str = ""
    # QUEUED again: not before then.
    not_before: datetime | None = None


def told(written: CTE) -> Any:
    """Selects the ids written, joined by commas, as many as one notification carries to a row, and notifies
    `channel` of them.
    """
    part = (func.row_number().over() - 1) // _IDS_A_NOTIFICATION
    parts = select(written.c.transfer_id, part.label("part")).subquery("parts")
    ids = func.string_agg(parts.c.transfer_id, ",")
    notified = func.pg_notify(bindparam("channel", type_=Text), ids)
    return select(ids.label("ids"), notified).group_by(parts.c.part)


def ids_of(rows: Iterable[Any]) -> set[str]:
    """Of what `told` answered."""
    return {transfer_id for row in rows for transfer_id in row["ids"].split(",")}


def log_constant(written: CTE, state: Any) -> Any:
    """The same entry for all that was written; `event`, `reason` and `message` are parameters."""
    texts = [bindparam(name, type_=Text) for name in ("event", "reason", "message")]
    return (
        insert(transfer_log)
        .from_select(LOG_COLUMNS, select(written.c.transfer_id, NOW, state, *texts))
        .returning(transfer_log.c.log_id)
        .cte("logged")
    )


def held_batch() -> CTE:
    """The batch of `batch_id` while it is held under `fence`: locked, so that nobody takes it meanwhile."""
    return (
        select(batches.c.batch_id)
        .where(
            batches.c.batch_id == bindparam("batch_id", type_=Text),
            batches.c.lease_fence == bindparam("fence", type_=BigInteger),
            batches.c.lease_owner.is_not(None),
        )
        .with_for_update(read=True)
        .cte("held")
    )


_change = arrays(
    ids=Text,
    before=SmallInteger,
    after=SmallInteger,
    uploads=Text,
    attempts=Integer,
    moved=BigInteger,
    due=TIME,
    kept=Boolean,
    errors=Text,
    events=Text,
    reasons=Text,
    messages=Text,
)


def _write() -> Any:
    held = held_batch()
    changing = in_order(
        transfers,
        transfers.c.transfer_id == _change.c.ids,
        transfers.c.state == _change.c.before,
        transfers.c.batch_id == held.c.batch_id,
        carrying=[column for column in _change.c if column.name != "ids"],
    )
    given = changing.c
    written = (
        update(transfers)
        .values(
            state=given.after,
            state_time=case((given.before != given.after, NOW), else_=transfers.c.state_time),
            update_time=NOW,
            batch_id=case((given.kept, transfers.c.batch_id)),
            upload_id=given.uploads,
            attempt_count=given.attempts,
            moved_bytes=given.moved,
            bytes_per_second=0,
            not_before=given.due,
            error_json=given.errors,
        )
        .where(locked(transfers, changing))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    entries = select(
        given.transfer_id, NOW, given.after, given.events, given.reasons, given.messages
    ).join_from(changing, written, written.c.transfer_id == given.transfer_id)
    logged = insert(transfer_log).from_select(LOG_COLUMNS, entries).returning(transfer_log.c.log_id)
    return told(written).add_cte(logged.cte("logged"))


_WRITE = compile_hot(_write())


async def write_changes(
    connection: Bare, batch: Batch, changes: Sequence[Change], *, now: datetime, channel: str
) -> set[str]:
    """Writes what became of transfers of a batch that is held; answers the ids written. The others have been
    changed by somebody else, or the batch is another worker's now.
    """
    rows = await _WRITE.fetch(
        connection,
        batch_id=batch.batch_id,
        fence=batch.lease_fence,
        ids=[change.transfer_id for change in changes],
        before=[int(change.before) for change in changes],
        after=[int(change.after) for change in changes],
        uploads=[change.upload_id for change in changes],
        attempts=[change.attempt_count for change in changes],
        moved=[change.moved_bytes for change in changes],
        due=[change.not_before for change in changes],
        kept=[change.after != TransferState.QUEUED for change in changes],
        errors=[change.error_json for change in changes],
        events=[change.event for change in changes],
        reasons=[change.reason for change in changes],
        messages=[change.message for change in changes],
        now=now,
        channel=channel,
    )
    return ids_of(rows)


_progressed = arrays(ids=Text, moved=BigInteger, rates=BigInteger)


def _progress() -> Any:
    moving = in_order(
        transfers,
        transfers.c.transfer_id == _progressed.c.ids,
        in_state(TransferState.MOVING),
        transfers.c.batch_id == bindparam("batch_id", type_=Text),
        carrying=(_progressed.c.moved, _progressed.c.rates),
    )
    written = (
        update(transfers)
        .values(moved_bytes=moving.c.moved, bytes_per_second=moving.c.rates, update_time=NOW)
        .where(locked(transfers, moving))
        .returning(transfers.c.transfer_id)
        .cte("written")
    )
    return told(written)


_PROGRESS = compile_hot(_progress())


async def note_progress(
    connection: Bare, batch: Batch, moved: Sequence[tuple[str, int, int]], *, now: datetime, channel: str
) -> None:
    """How far transfers are: id, bytes, bytes a second. A hint, so not fenced."""
    ids, counts, rates = (list(each) for each in zip(*moved, strict=True))
    await _PROGRESS.fetch(
        connection, batch_id=batch.batch_id, ids=ids, moved=counts, rates=rates, now=now, channel=channel
    )


_NOTIFY = compile_hot(
    select(func.pg_notify(bindparam("channel", type_=Text), bindparam("payload", type_=Text)))
)


async def notify(connection: Bare, channel: str, payload: str = "") -> None:
    await _NOTIFY.fetch(connection, channel=channel, payload=payload)


def columns_of(table: Any, names: Iterable[str]) -> list[Column[Any]]:
    return [table.c[name] for name in names]
