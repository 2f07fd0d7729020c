"""librarian demo: the whole story in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from librarian.cli import serverside


def command(
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="A tree of your own; else Python's standard library.", show_default=False),
    ] = None,
) -> None:
    """Show it all in a minute, on a throw-away site.

    Keeps real data, breaks things, and shows that nothing is lost.
    """
    serverside.need("standalone", "librarian demo")
    serverside.become("standalone.demo", ["--data", str(data)] if data else [])
