"""`python -m tests.bench`: measure, print a table, write build/bench.json."""

from __future__ import annotations

import argparse
import signal
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
MODULES = ("start", "memory", "put", "register", "lookup", "listing", "transfers")


# One measurement may take so long; a put that never ends must not be waited for.
PATIENCE_SECONDS = 1800


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGALRM, _out_of_time)
    # Wide enough for the table where nobody looks at it but a log.
    console = Console() if sys.stdout.isatty() else Console(width=150)
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
            signal.alarm(PATIENCE_SECONDS)
            try:
                for row in measurement.run(bench):
                    rows.append(row)
                    write_json(rows, arguments.output)
            except Exception:  # noqa: BLE001 - one that fails does not stop the others
                failed.append(measurement.name)
                traceback.print_exc()
            finally:
                signal.alarm(0)
    print_table(rows, console)
    for name in failed:
        console.print(f"[red]could not be measured: {name}[/]")
    return 1 if failed else 0


def _end(*_: object) -> None:
    """By way of everybody's clean-up: the site is stopped, the scratch space goes."""
    raise SystemExit(143)


def _out_of_time(*_: object) -> None:
    raise TimeoutError(f"not done within {PATIENCE_SECONDS} s")


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
