"""librarian get: take a dataset out, as `cp -r` would."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian
    from librarian.fetch.session import GetResult
    from librarian.progress import Progress


def command(
    name: options.Name,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="An existing directory to put it into, a new path to call it, or - for stdout.",
            show_default=False,
        ),
    ],
    *,
    member: Annotated[
        list[str],
        typer.Option(
            metavar="GLOB", help="Only members whose paths match; may be given again.", show_default=False
        ),
    ] = [],  # noqa: B006 - typer takes defaults as they are
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")] = False,
    store: options.OnlyStore = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Take a dataset, or some of its members, out.

    Every byte is verified before it appears. What is there is never replaced without --force.
    Interrupted, the same command goes on from the .part it leaves.
    """
    from librarian.cli.run import run
    from librarian.progress import Progress

    progress = Progress()
    started = time.monotonic()
    if destination == "-" and as_json:
        raise typer.BadParameter("bytes and JSON cannot share stdout: leave --json out")

    async def body(client: Librarian, output: Output) -> ExitCode:
        from librarian.cli.bar import shown

        if destination == "-":
            async for chunk in client.read(name.rstrip("/"), members=member, store=store):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return ExitCode.DONE
        async with shown(progress):
            result = await client.get(
                name.rstrip("/"), destination, members=member, force=force, store=store, progress=progress
            )
        if output.as_json:
            output.value(_value(result))
        else:
            output.line(_told(result, time.monotonic() - started))
        return ExitCode.DONE

    run(body, site=site, as_json=as_json, interrupted=lambda: _left_behind(destination, progress))


def _value(result: GetResult) -> dict[str, object]:
    from librarian.cli.jsonform import message_value

    dataset = message_value(result.dataset)
    return {
        **{key: dataset[key] for key in ("name", "uid", "kind", "digest")},
        "path": str(result.path),
        "size_bytes": result.size_bytes,
        "member_count": result.member_count,
        "present_count": result.present_count,
        "already_there": result.already_there,
    }


def _told(result: GetResult, seconds: float) -> str:
    from librarian.cli.texts import counted, duration_text, rate_text, size_text
    from librarian.names import printable

    what = f"{size_text(result.size_bytes)}"
    if result.dataset.kind == 2:
        what += f" in {counted(result.member_count, 'member')}"
    path = printable(str(result.path))
    if result.already_there:
        return f"{path} is there already and verified: {what}"
    before = f", {result.present_count:,} of them there before" if result.present_count else ""
    rate = rate_text(result.size_bytes / seconds)
    return f"{path}: {what}{before}, verified, {duration_text(seconds)} ({rate})"


def _left_behind(destination: str, progress: Progress) -> str:
    from librarian.cli.texts import size_text

    if destination == "-":
        return "what was written is not the whole: begin again"
    now = progress.snapshot()
    done = (
        f"{size_text(now.done_bytes)} of {size_text(now.total_bytes)}" if now.total_bytes else "nothing yet"
    )
    return f"{done} fetched into a .part beside it; the same command goes on from there"
