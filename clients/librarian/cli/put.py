"""librarian put: keep a file, a directory, or every entry of a directory."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librarian.cli import options, parse
from librarian.cli.exits import ExitCode, error_value
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian
    from librarian.ingest.items import PutResult
    from librarian.progress import Progress


def command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a directory.", show_default=False)],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The dataset's name to be; with --each what all names begin with.",
            show_default=False,
        ),
    ] = "",
    *,
    each: Annotated[
        bool, typer.Option("--each", help="Every entry of PATH becomes a dataset NAME/entry.")
    ] = False,
    tag: options.Tag = [],  # noqa: B006 - typer takes defaults as they are
    created: Annotated[
        str, typer.Option(metavar="TIME", help="When the data was made; else now.", show_default=False)
    ] = "",
    algorithm: options.Algorithm = "sha256",
    store: options.OnlyStore = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Keep a file or directory as a dataset; with --each, every entry.

    Done means: every byte was read again by the site, is durable and catalogued. The same again is a
    success; other content under a name that is taken is refused. Interrupted, the same command goes on.
    """
    from librarian.cli.run import run
    from librarian.progress import Progress

    if each and created:
        raise typer.BadParameter("--created speaks of one dataset: leave it or --each out")
    if not each and not name:
        raise typer.BadParameter("NAME is missing: librarian put PATH NAME")
    progress = Progress()
    started = time.monotonic()
    wanted: dict[str, Any] = {
        "tags": parse.tags(tag),
        "algorithm": algorithm,
        "store": store,
        "progress": progress,
    }
    if created:
        wanted["create_time"] = parse.moment(created, "--created", now=datetime.now(UTC))

    async def body(client: Librarian, output: Output) -> ExitCode:
        from librarian.cli.bar import shown

        async with shown(progress):
            if each:
                return await _put_each(client, output, path, name, wanted, started)
            result = await client.put(path, name, **wanted)
        if output.as_json:
            output.value(result_value(result))
        else:
            output.line(_told(result, time.monotonic() - started))
        return ExitCode.DONE

    run(body, site=site, as_json=as_json, interrupted=lambda: _left_behind(progress))


async def _put_each(
    client: Librarian, output: Output, path: Path, prefix: str, wanted: dict[str, Any], started: float
) -> ExitCode:
    from librarian.cli.texts import counted, rate_text, size_text
    from librarian.errors import Refused
    from librarian.ingest.items import PutOutcome

    array = output.array() if output.as_json else None
    counts = dict.fromkeys(PutOutcome, 0)
    size = 0
    async for result in client.put_each(path, prefix, **wanted):
        counts[result.outcome] += 1
        size += result.size_bytes if result.outcome is PutOutcome.PUBLISHED else 0
        if array is not None:
            array.add(result_value(result))
        elif result.error is not None:
            output.error(result.error)
    if array is not None:
        array.end()
    seconds = time.monotonic() - started
    new, there, failed = (counts[outcome] for outcome in PutOutcome)
    parts = [f"{counted(new, 'dataset')} kept ({size_text(size)})"]
    parts += [f"{there:,} there already"] if there else []
    parts += [f"{failed:,} refused"] if failed else []
    if array is None:
        rates = f"{sum(counts.values()) / seconds:,.0f} a second, {rate_text(size / seconds)}"
        output.line(f"{', '.join(parts)} in {seconds:.1f} s ({rates})")
    if failed:
        raise Refused(
            f"{failed:,} of {sum(counts.values()):,} were refused",
            remedy="the reason stands with each; the others are kept, and the same command tries again",
        )
    return ExitCode.DONE


def result_value(result: PutResult) -> dict[str, object]:
    """With the field names of Dataset and Ingest."""
    from librarian.manifests import DatasetKind

    return {
        "name": result.item.name,
        "path": str(result.item.path),
        "outcome": result.outcome.value,
        "uid": result.uid,
        "kind": f"DATASET_KIND_{DatasetKind(result.kind).name if result.kind else 'UNSPECIFIED'}",
        "digest": str(result.digest) if result.digest else None,
        "size_bytes": result.size_bytes,
        "member_count": result.member_count,
        "store": result.store,
        "error": error_value(result.error) if result.error else None,
    }


def _told(result: PutResult, seconds: float) -> str:
    from librarian.cli.texts import counted, duration_text, rate_text, size_text
    from librarian.ingest.items import PutOutcome
    from librarian.manifests import DatasetKind
    from librarian.names import printable

    name = printable(result.item.name)
    members = f" in {counted(result.member_count, 'member')}" if result.kind is DatasetKind.DIRECTORY else ""
    size = f"{size_text(result.size_bytes)}{members}"
    if result.outcome is PutOutcome.ALREADY_THERE:
        return f"{name} is there already with the same content: {size}\n  {result.digest}"
    rate = rate_text(result.size_bytes / seconds)
    return f"kept {name}: {size}, {duration_text(seconds)} ({rate})\n  {result.digest}"


def _left_behind(progress: Progress) -> str:
    from librarian.cli.texts import size_text

    now = progress.snapshot()
    if now.phase == "verifying":
        return "the site has every byte and finishes by itself; the same command tells how it ended"
    done = (
        f"{size_text(now.done_bytes)} of {size_text(now.total_bytes)}" if now.total_bytes else "nothing yet"
    )
    return f"{done} brought; the same command goes on from there (the site keeps it for a day)"
