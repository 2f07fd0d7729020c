"""Running a command: the client it talks with, its output, and what an interruption leaves behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import typer

from librarian.cli.exits import ExitCode, error_text
from librarian.cli.output import Output
from librarian.errors import Cancelled

if TYPE_CHECKING:
    from librarian.client import Librarian

Body = Callable[["Librarian", Output], Awaitable[ExitCode | None]]


def run(
    body: Body, *, site: str, as_json: bool, interrupted: Callable[[], str] = lambda: "nothing was changed"
) -> None:
    """Runs `body` with an open client and leaves with its exit code. `interrupted` tells what a Ctrl-C
    leaves behind and how to go on.
    """
    output = Output(as_json=as_json)

    async def whole() -> ExitCode | None:
        from librarian.client import Librarian

        async with Librarian.connect(site=site) as client:
            return await body(client, output)

    try:
        code = asyncio.run(whole())
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.DONE
    except KeyboardInterrupt:
        tell_interrupted(interrupted(), as_json=as_json)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(code or ExitCode.DONE)


def tell_interrupted(remedy: str, *, as_json: bool) -> None:
    sys.stdout.flush()
    if as_json:
        error = Cancelled("interrupted", remedy=remedy)
        error.metadata["reason"] = "INTERRUPTED"
        text = error_text(error, as_json=True)
    else:
        text = f"\ninterrupted: {remedy}"
    sys.stderr.write(text + "\n")
