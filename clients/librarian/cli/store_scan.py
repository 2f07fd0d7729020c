"""librarian store scan: what is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from librarian.cli import options, store_options
from librarian.cli.exits import ExitCode
from librarian.cli.output import Column, Output, Verdict

if TYPE_CHECKING:
    from librarian.client import Librarian

# Of data that is catalogued; DARK and STRAY are only in the way, and UNCATALOGUED is safe where it is.
BAD = frozenset({"MISSING", "CHANGED"})


def command(name: store_options.StoreName, *, site: options.Site = "", as_json: options.Json = False) -> None:
    """Compare a store with the catalogue: missing, changed, dark, stray, uncatalogued. Changes nothing.

    Exit code 3 where something is missing or changed.
    """
    from librarian.cli.run import run
    from librarian.progress import Progress

    progress = Progress()

    async def body(client: Librarian, output: Output) -> ExitCode:
        from librarian.cli.bar import shown
        from librarian.cli.jsonform import message_value
        from librarian.cli.texts import counted
        from librarian.names import printable

        async with shown(progress):
            findings = [finding async for finding in client.scan(name, progress=progress)]
        scanned = progress.snapshot().done_count
        bad = any(finding.reason in BAD for finding in findings)
        if output.as_json:
            value: dict[str, Any] = {
                "store": name,
                "scanned_count": scanned,
                "findings": [message_value(finding) for finding in findings],
            }
            output.value(value)
            return ExitCode.DATA_LOSS if bad else ExitCode.DONE
        if findings:
            columns = [Column("FOUND"), Column("PATH"), Column("DETAIL")]
            rows = [
                [finding.reason.lower(), printable(finding.path), printable(finding.detail)]
                for finding in findings
            ]
            output.table(columns, rows)
        verdict = Verdict.BAD if bad else Verdict.DOUBTFUL if findings else Verdict.GOOD
        text = counted(len(findings), "finding") if findings else "all is as it should be"
        output.line(f"{output.judged(text, verdict)} ({counted(scanned, 'path')} looked at)")
        return ExitCode.DATA_LOSS if bad else ExitCode.DONE

    run(body, site=site, as_json=as_json)
