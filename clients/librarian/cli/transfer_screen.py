"""A watch on a terminal: queues with their rates above, transfers under way with a bar each below."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.texts import clock_text, count_text, rate_text, share_text, size_text
from librarian.cli.transfer_board import Board
from librarian.cli.transfer_lines import change_line
from librarian.cli.transfer_rows import transfer_state
from librarian.names import printable
from librarian.progress import Progress

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

REFRESH_SECONDS = 0.25
# Lines beside the transfers' own: titles, sums, blank ones.
OTHER_LINES = 9
# Troubles told above the table between two looks; the sums count all.
TOLD_TROUBLES = 5

_FOR_PEOPLE = frozenset({transfer_pb2.TRANSFER_STATE_HELD, transfer_pb2.TRANSFER_STATE_FAILED})


async def draw(answers: AsyncIterator[transfer_pb2.WatchTransfersResponse], progress: Progress) -> None:
    from rich.live import Live

    board = Board()
    troubles: list[str] = []
    with Live(auto_refresh=False) as live:
        drawing = asyncio.create_task(_redraw(board, troubles, progress, live))
        try:
            async for answer in answers:
                news = board.apply(answer, anew=bool(progress.snapshot().trouble))
                room = TOLD_TROUBLES - len(troubles)
                troubles += [change_line(one) for one in news if one.state in _FOR_PEOPLE][:room]
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing


async def _redraw(board: Board, troubles: list[str], progress: Progress, live: Live) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        for trouble in troubles:
            live.console.print(trouble, markup=False, highlight=False)
        troubles.clear()
        board.tick(clock())
        rows = max(3, live.console.height - OTHER_LINES - len(board.queues))
        live.update(picture(board, progress.snapshot().trouble, rows), refresh=True)
        await asyncio.sleep(REFRESH_SECONDS)


def picture(board: Board, trouble: str, rows: int) -> Group:
    """At most `rows` transfers."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Table | Text] = []
    if board.queues:
        parts.append(_queues(board))
    if board.active:
        parts += [Text(), _transfers(board, rows)]
    if not board.queues and not board.active:
        parts.append(Text("nothing is on its way; what comes is shown here"))
    parts.append(Text(_sums(board), style="dim"))
    if trouble:
        parts.append(Text(f"waiting: {trouble}", style="yellow"))
    return Group(*parts)


def _queues(board: Board) -> Table:
    table = _table(
        "TO", "BY", ">WAITING", ">", ">UNDER WAY", ">", ">THERE", ">RATE", ">LEFT", ">HELD", ">FAILED"
    )
    for queue in board.queues:
        figures = board.queue_figures(queue)
        left = figures.seconds_left
        table.add_row(
            queue.destination,
            queue.via,
            count_text(queue.waiting_count),
            size_text(queue.waiting_bytes),
            count_text(queue.active_count),
            size_text(queue.active_bytes),
            share_text(queue.moved_bytes, queue.active_bytes),
            rate_text(figures.bytes_per_second),
            clock_text(left) if left is not None else "-",
            count_text(queue.held_count),
            count_text(queue.failed_count),
        )
    return table


def _transfers(board: Board, rows: int) -> Table:
    """Those that move first."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    table = _table("STATE", "TO", ">SIZE", "THERE", ">", ">RATE", ">LEFT", "NAME")
    moving_first = sorted(
        board.active.values(), key=lambda one: one.state != transfer_pb2.TRANSFER_STATE_MOVING
    )
    for transfer in moving_first[:rows]:
        figures = board.transfer_figures(transfer)
        moving = transfer.state == transfer_pb2.TRANSFER_STATE_MOVING
        left = figures.seconds_left if moving else None
        table.add_row(
            transfer_state(transfer.state),
            transfer.destination,
            size_text(transfer.size_bytes),
            ProgressBar(total=max(1, transfer.size_bytes), completed=transfer.moved_bytes, width=16)
            if moving
            else "",
            share_text(transfer.moved_bytes, transfer.size_bytes) if moving else "",
            rate_text(figures.bytes_per_second) if moving else "",
            clock_text(left) if left is not None else "",
            Text(printable(transfer.name)),
        )
    if len(moving_first) > rows:
        table.add_row("", "", "", "", "", "", "", f"and {len(moving_first) - rows:,} more")
    return table


def _table(*titles: str) -> Table:
    """`>` before a title: figures."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        figures = title.startswith(">")
        name = title.removeprefix(">")
        last = title == titles[-1] and not figures
        table.add_column(
            name,
            justify="right" if figures else "left",
            no_wrap=True,
            overflow="ellipsis" if last else "fold",
        )
    return table


def _sums(board: Board) -> str:
    ended = [f"{count_text(count)} {transfer_state(state)}" for state, count in sorted(board.ended.items())]
    went = f"{size_text(board.arrived_bytes)} went over"
    return f"since the watch began: {', '.join(ended) or 'none ended'}, {went}"
