"""librarian config check: what is wrong with settings, before they are used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from librarian.cli import options, serverside
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output, Verdict


def command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A server's TOML file; without one this client's own settings are checked.",
            show_default=False,
        ),
    ] = None,
    *,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Check settings, and name every key that is wrong. Nothing is started or contacted."""
    output = Output(as_json=as_json)
    if file is None:
        _check_client(output, site)
        return
    problems = _server_problems(file)
    if as_json:
        output.value({"file": str(file), "problems": problems})
    else:
        for problem in problems:
            key = f"{problem['key']}: " if problem["key"] else ""
            output.line(f"{output.judged('wrong', Verdict.BAD)}  {key}{problem['message']}")
        if not problems:
            output.line(f"{output.judged('good', Verdict.GOOD)}  {file}, with the environment as it is now")
    raise typer.Exit(ExitCode.FAILED if problems else ExitCode.DONE)


def _server_problems(file: Path) -> list[dict[str, str]]:
    serverside.need("svckit", "checking a server's settings")
    # By name: the client must not import the server.
    settings = import_module("svckit.settings")
    found = settings.check_settings(["--config", str(file)])
    return [{"key": str(problem.key), "message": str(problem.message)} for problem in found]


def _check_client(output: Output, site: str) -> None:
    from librarian.connection.settings import find_connection

    settings = find_connection(site=site)
    if output.as_json:
        output.value({"address": settings.address.text, "source": settings.source})
    else:
        output.line(f"{output.judged('good', Verdict.GOOD)}  {settings.address.text}, from {settings.source}")
