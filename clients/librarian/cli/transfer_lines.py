"""A watch where no terminal is: a line for each change of state, and now and then one for each queue."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import datetime

from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.bar import shown
from librarian.cli.output import Output
from librarian.cli.texts import clock_text, rate_text, size_text
from librarian.cli.transfer_board import Board
from librarian.cli.transfer_rows import transfer_state
from librarian.messages import datetime_of, error_of
from librarian.names import printable
from librarian.progress import Progress

QUEUE_SECONDS = 10.0
# An old trouble of one that goes on is no news; one that is queued again says why.
_TROUBLED = frozenset(
    {
        transfer_pb2.TRANSFER_STATE_QUEUED,
        transfer_pb2.TRANSFER_STATE_HELD,
        transfer_pb2.TRANSFER_STATE_FAILED,
    }
)


async def tell(
    answers: AsyncIterator[transfer_pb2.WatchTransfersResponse], progress: Progress, output: Output
) -> None:
    board = Board()
    clock = asyncio.get_running_loop().time
    next_queues = clock()
    async with shown(progress):
        async for answer in answers:
            for transfer in board.apply(answer, anew=bool(progress.snapshot().trouble)):
                output.line(change_line(transfer))
            board.tick(clock())
            if board.queues and clock() >= next_queues:
                next_queues = clock() + QUEUE_SECONDS
                for queue in board.queues:
                    output.line(queue_line(board, queue))
            sys.stdout.flush()


def change_line(transfer: transfer_pb2.Transfer) -> str:
    moment = _clock_time(datetime_of(transfer.state_time))
    state = transfer_state(transfer.state)
    line = f"{moment}  {state:<9}  {transfer.destination}  {size_text(transfer.size_bytes):>7}  "
    line += printable(transfer.name)
    if transfer.state in _TROUBLED and transfer.HasField("error"):
        known = error_of(transfer.error)
        line += f": {transfer.error.reason}: {printable(known.message)}"
        if transfer.state != transfer_pb2.TRANSFER_STATE_QUEUED and known.remedy:
            line += f" (what to do: {known.remedy})"
    return line


def queue_line(board: Board, queue: transfer_pb2.QueueStatus) -> str:
    figures = board.queue_figures(queue)
    moved = f"{size_text(queue.moved_bytes)} of {size_text(queue.active_bytes)}"
    parts = [
        f"{queue.waiting_count:,} waiting ({size_text(queue.waiting_bytes)})",
        f"{queue.active_count:,} under way ({moved})",
        rate_text(figures.bytes_per_second),
    ]
    parts += [f"{clock_text(figures.seconds_left)} left"] if figures.seconds_left else []
    parts += [f"{queue.held_count:,} held"] if queue.held_count else []
    parts += [f"{queue.failed_count:,} failed"] if queue.failed_count else []
    return f"  {queue.destination} by {queue.via}: {', '.join(parts)}"


def _clock_time(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")
