"""`python -m standalone --home DIR [--name SITE] [--port N]`: a whole site on this machine.

Imports little: PostgreSQL is started first, and starts while everything else is being imported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from librarian.errors import LibrarianError
from standalone.site import Options, run_site


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    options = Options(
        home=arguments.home.expanduser().absolute(),
        name=arguments.name,
        port=arguments.port,
        database_dsn=os.environ.get("LIBRARIAN_DATABASE_DSN", ""),
        control=arguments.control_fd,
        throwaway=arguments.throwaway,
    )
    try:
        return run_site(options)
    except LibrarianError as error:
        if arguments.control_fd is not None:
            told = {"reason": error.reason, "message": error.message, "remedy": error.remedy}
            os.write(arguments.control_fd, json.dumps({"error": told}).encode() + b"\n")
        print(error.message, file=sys.stderr)  # noqa: T201 this is the program's voice
        if error.remedy:
            print(f"→ {error.remedy}", file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="librarian up", description="Runs a whole site on this machine.")
    default_home = Path(os.environ.get("LIBRARIAN_HOME") or "~/.librarian")
    parser.add_argument("--home", type=Path, default=default_home, help="where the site keeps everything")
    parser.add_argument(
        "--name", default="", help="the site's name, told at the first start (the host's name)"
    )
    parser.add_argument("--port", type=int, default=None, help="TCP port on loopback (the last one; 0: any)")
    # For programs that start a site: one JSON line is written here when it is ready or has failed, and
    # the site stops when the other end is closed, however that came about.
    parser.add_argument("--control-fd", type=int, default=None, help=argparse.SUPPRESS)
    # For tests: what a crash of the machine would lose may be lost.
    parser.add_argument("--throwaway", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
