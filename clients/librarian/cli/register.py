"""librarian register: adopt what already lies on a store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, parse
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store it lies on.", show_default=False)],
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Where to look, below the store's root.", show_default=False),
    ] = "",
    *,
    glob: Annotated[
        str,
        typer.Option(
            metavar="GLOB",
            help="Which paths below the root are one dataset each, as 'satp3/obs/*'; else PATH is one.",
            show_default=False,
        ),
    ] = "",
    tag: options.Tag = [],  # noqa: B006 - typer takes defaults as they are
    algorithm: options.Algorithm = "sha256",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Adopt data that lies on a store, without a copy. Safe to repeat."""
    from librarian.cli.run import run
    from librarian.progress import Progress

    if not path and not glob:
        raise typer.BadParameter("say what is one dataset: a PATH, or --glob 'satp3/obs/*'")
    wanted_tags = parse.tags(tag)
    progress = Progress()
    started = time.monotonic()

    async def body(client: Librarian, output: Output) -> ExitCode:
        from librarian.cli.bar import shown
        from librarian.cli.jsonform import message_value
        from librarian.cli.texts import counted, duration_text, size_text
        from librarian.messages import error_of
        from librarian.names import printable

        async with shown(progress):
            result = await client.register(
                store, path=path, glob=glob, algorithm=algorithm, tags=wanted_tags, progress=progress
            )
        if output.as_json:
            output.value(message_value(result))
        else:
            for refusal in result.refusals:
                error = error_of(refusal.error)
                error.message = f"{printable(refusal.name)}: {error.message}"
                output.error(error)
            parts = [f"{counted(result.registered_count, 'dataset')} registered"]
            parts += [f"{result.already_count:,} there already"] if result.already_count else []
            parts += [f"{result.refused_count:,} refused"] if result.refused_count else []
            seconds = duration_text(time.monotonic() - started)
            output.line(f"{', '.join(parts)}; {size_text(result.hashed_bytes)} read in {seconds}")
            if not result.found_count:
                output.note("nothing matched: `librarian store ls` shows the store's root")
        return ExitCode.FAILED if result.refused_count else ExitCode.DONE

    run(
        body,
        site=site,
        as_json=as_json,
        interrupted=lambda: "what was registered stays; the same command goes on with the rest",
    )
