"""librarian verify: re-read every byte of a dataset's copies, or of a whole store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.exits import ExitCode
from librarian.cli.output import Output, Verdict

if TYPE_CHECKING:
    from librarian.api.store.v1 import store_pb2
    from librarian.client import Librarian
    from librarian.progress import Progress

SHOWN_FINDINGS = 20


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The dataset's name, or its uid.", show_default=False)
    ] = "",
    *,
    store: Annotated[
        str, typer.Option(metavar="STORE", help="Every copy on this store instead.", show_default=False)
    ] = "",
    after: Annotated[
        str,
        typer.Option(metavar="UID", help="With --store: go on after this dataset.", show_default=False),
    ] = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Read every byte again and compare. Exit code 3 where a copy is corrupt or missing."""
    from librarian.cli.run import run
    from librarian.progress import Progress

    if bool(name) == bool(store):
        raise typer.BadParameter("give either a NAME or --store STORE")
    progress = Progress()
    last = ""

    async def body(client: Librarian, output: Output) -> ExitCode:
        from librarian.cli.bar import shown

        nonlocal last
        tally = _Tally(output)
        async with shown(progress):
            async for shown_name, report in _reports(client, name.rstrip("/"), store, after, progress):
                tally.add(shown_name, report)
                last = report.uid
        return tally.end(progress)

    def left_behind() -> str:
        if store and last:
            return f"what was found is recorded; go on with: librarian verify --store {store} --after {last}"
        return "nothing was changed; the same command begins again"

    run(body, site=site, as_json=as_json, interrupted=left_behind)


async def _reports(
    client: Librarian, name: str, store: str, after: str, progress: Progress
) -> AsyncIterator[tuple[str, store_pb2.ReplicaReport]]:
    if store:
        async for found in client.verify_store(store, after_uid=after, progress=progress):
            yield found.name, found.report
    else:
        for report in await client.verify(name, progress=progress):
            yield name, report


class _Tally:
    """Counts the reports; tells the good ones by number only, the bad ones with all that is known."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._counts = {"available": 0, "corrupt": 0, "missing": 0}
        self._reports: list[dict[str, object]] = []

    def add(self, name: str, report: store_pb2.ReplicaReport) -> None:
        from librarian.api.common.v1 import common_pb2
        from librarian.cli.jsonform import message_value
        from librarian.cli.texts import label
        from librarian.names import printable

        state = label(common_pb2.ReplicaState.Name(report.state), "REPLICA_STATE_")
        self._counts[state] = self._counts.get(state, 0) + 1
        if self._output.as_json:
            self._reports.append({"name": name, **message_value(report)})
            return
        if state == "available":
            return
        self._output.line(f"{self._output.judged(state, Verdict.BAD)}: {printable(name)} on {report.store}")
        for finding in report.findings[:SHOWN_FINDINGS]:
            self._output.line(f"  {_finding_text(finding)}")
        more = report.finding_count - min(len(report.findings), SHOWN_FINDINGS)
        if more > 0:
            self._output.line(f"  and {more:,} more (--json lists them)")

    def end(self, progress: Progress) -> ExitCode:
        from librarian.cli.texts import counted, size_text

        read = progress.snapshot().done_bytes
        bad = self._counts["corrupt"] + self._counts["missing"]
        if self._output.as_json:
            self._output.value(
                {
                    "available_count": self._counts["available"],
                    "corrupt_count": self._counts["corrupt"],
                    "missing_count": self._counts["missing"],
                    "read_bytes": sum(int(str(report["read_bytes"])) for report in self._reports),
                    "reports": self._reports,
                }
            )
        else:
            good = self._counts["available"]
            verdict = Verdict.BAD if bad else Verdict.GOOD
            text = f"{counted(good, 'copy', 'copies')} good"
            text += f", {self._counts['corrupt']:,} corrupt" if self._counts["corrupt"] else ""
            text += f", {self._counts['missing']:,} missing" if self._counts["missing"] else ""
            self._output.line(f"{self._output.judged(text, verdict)} ({size_text(read)} read)")
        return ExitCode.DATA_LOSS if bad else ExitCode.DONE


def _finding_text(finding: store_pb2.MemberFinding) -> str:
    from librarian.names import printable

    what = finding.reason.replace("_", " ").lower()
    text = f"{what}: {printable(finding.path or finding.location)}"
    if finding.path and finding.location:
        text += f"  ({printable(finding.location)})"
    if finding.HasField("found") and finding.found.value:
        expected, found = finding.expected.value.hex()[:12], finding.found.value.hex()[:12]
        text += f"  expected {finding.expected.algorithm}:{expected}…, found {found}…"
    return text
