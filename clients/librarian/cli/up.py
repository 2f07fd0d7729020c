"""librarian up: a whole site on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from librarian.cli import serverside


def command(
    *,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Where it keeps everything; else LIBRARIAN_HOME, else ~/.librarian.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The site's name, at its first start.", show_default=False)] = "",
    port: Annotated[int | None, typer.Option(help="TCP port; else the last one.", show_default=False)] = None,
) -> None:
    """Run a whole site on this machine; Ctrl-C stops it.

    PostgreSQL, catalog, store, transfer, worker and gateway, supervised.

    LIBRARIAN_DATABASE_DSN=postgresql://… uses a PostgreSQL of yours instead of its own.
    """
    serverside.need("standalone", "librarian up")
    arguments = ["--home", str(home)] if home else []
    arguments += ["--name", name] if name else []
    arguments += ["--port", str(port)] if port is not None else []
    serverside.become("standalone", arguments)
