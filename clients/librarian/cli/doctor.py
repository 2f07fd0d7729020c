"""librarian doctor: looks closely, and says what to do about what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from librarian.cli import options
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output, Verdict

if TYPE_CHECKING:
    from librarian.cli.checks import Check


def command(*, site: options.Site = "", as_json: options.Json = False) -> None:
    """Check connection, token, clock, stores and ways, with remedies.

    Exit code 1 where something is bad.
    """
    import asyncio

    import typer

    from librarian.cli.checks import run_checks

    output = Output(as_json=as_json)
    checks: list[Check] = []

    async def look() -> None:
        async for check in run_checks(site):
            checks.append(check)
            if not as_json:
                _print(check, output)

    asyncio.run(look())
    if as_json:
        output.value(
            [
                {
                    "check": check.name,
                    "verdict": check.verdict.name,
                    "message": check.message,
                    "remedy": check.remedy,
                }
                for check in checks
            ]
        )
    bad = any(check.verdict is Verdict.BAD for check in checks)
    raise typer.Exit(ExitCode.FAILED if bad else ExitCode.DONE)


def _print(check: Check, output: Output) -> None:
    word = {Verdict.GOOD: "good", Verdict.DOUBTFUL: "hm  ", Verdict.BAD: "bad "}[check.verdict]
    output.line(f"{output.judged(word, check.verdict)}  {check.name:<11}  {check.message}")
    if check.remedy and check.verdict is not Verdict.GOOD:
        output.line(f"                   what to do: {check.remedy}")
