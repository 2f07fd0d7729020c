"""`python -m tests.bench`: measure, print a table, write build/bench.json."""

from __future__ import annotations

import argparse
import sys
import traceback
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.bench.measurement import Bench, Measurement
from tests.bench.report import print_table, write_json
from tests.bench.rows import Row

# In this order: memory before what fills the site with a million rows.
MODULES = ("start", "memory", "put", "register", "lookup", "listing")


def main() -> int:
    arguments = _arguments()
    console = Console()
    chosen = [measurement for measurement in _measurements() if arguments.only in measurement.name]
    if not chosen:
        names = ", ".join(measurement.name for measurement in _measurements())
        console.print(f"nothing is called {arguments.only!r}; there are: {names}")
        return 2
    rows: list[Row] = []
    failed: list[str] = []
    with ExitStack() as stack:
        bench = Bench(stack, arguments.directory, rounds=arguments.rounds, scale=arguments.scale)
        for measurement in chosen:
            console.print(f"[dim]{measurement.name} ...[/]")
            try:
                for row in measurement.run(bench):
                    rows.append(row)
                    write_json(rows, arguments.output)
            except Exception:  # noqa: BLE001 - one that fails does not stop the others
                failed.append(measurement.name)
                traceback.print_exc()
    print_table(rows, console)
    for name in failed:
        console.print(f"[red]could not be measured: {name}[/]")
    return 1 if failed else 0


def _measurements() -> list[Measurement]:
    return [
        measurement for name in MODULES for measurement in import_module(f"tests.bench.{name}").MEASUREMENTS
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help="measure what has this in its name")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each; 0: as each likes")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the sizes and counts, to try things out"
    )
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    # A disk: /tmp may be memory, where nothing is ever made durable.
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="about 30 GiB are used here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
