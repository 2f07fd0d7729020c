"""The command line. One command, one file; what they share stands beside them.

Started often and by people who wait: nothing here imports gRPC or rich before it is needed.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The program `librarian`."""
    from librarian.cli.program import run_program

    sys.exit(run_program(sys.argv[1:]))
