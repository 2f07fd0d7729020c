"""librarian peer rotate-key: a new key for the site on this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from librarian.cli import options, serverside
from librarian.cli.output import Output


def command(
    *,
    home: Annotated[
        Path | None,
        typer.Option(help="Of the site; else LIBRARIAN_HOME, else ~/.librarian.", show_default=False),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also soon after the last time.")] = False,
    as_json: options.Json = False,
) -> None:
    """Replace the key by which other sites know the one that `librarian up` runs here.

    Works from its next start on. Peers learn of it by themselves; for 7 days the former key is good too. In
    containers: python -m svckit.init rotate-key DIR.
    """
    serverside.need("svckit", "rotating a site's key")
    output = Output(as_json=as_json)
    root = (home or Path(os.environ.get("LIBRARIAN_HOME") or "~/.librarian")).expanduser()
    # By name: the client must not import the server.
    site_keys = import_module("svckit.sitekeys")
    fresh = str(site_keys.rotate(root / "keys" / "site.key", now=datetime.now(UTC), again=again))
    if as_json:
        output.value({"key_id": fresh})
    else:
        output.line(
            f"the site's key is {fresh} from its next start on\n  stop `librarian up`, and start it again"
        )
