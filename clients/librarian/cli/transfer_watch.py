"""librarian transfer watch: transfers as they go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from librarian.cli import options, transfer_choice
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from librarian.api.transfer.v1 import transfer_pb2
    from librarian.client import Librarian
    from librarian.progress import Progress


def command(*, to: transfer_choice.To = "", site: options.Site = "", as_json: options.Json = False) -> None:
    """Show transfers as they go, until Ctrl-C. A table on a terminal, else a line for each change; with
    --json one JSON object a line.
    """
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> ExitCode:
        import asyncio
        from contextlib import aclosing

        from librarian.progress import Progress

        progress = Progress()
        async with aclosing(client.watch_transfers(to, progress=progress)) as answers:
            try:
                await _watch(answers, progress, output)
            except asyncio.CancelledError:
                # Ctrl-C is how a watch ends.
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        return ExitCode.DONE

    run(body, site=site, as_json=as_json)


async def _watch(
    answers: AsyncGenerator[transfer_pb2.WatchTransfersResponse, None], progress: Progress, output: Output
) -> None:
    if output.as_json:
        from librarian.cli.jsonform import message_value

        async for answer in answers:
            if answer.transfers or answer.queues:
                output.json_line(message_value(answer))
        return
    if sys.stdout.isatty():
        from librarian.cli.transfer_screen import draw

        await draw(answers, progress)
        return
    from librarian.cli.transfer_lines import tell

    await tell(answers, progress, output)
