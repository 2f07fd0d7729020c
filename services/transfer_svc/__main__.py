"""`python -m transfer_svc --config FILE.toml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from svckit.server import main as serve
from transfer_svc.app import build


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; see svckit.server.main."""
    return serve("transfer", build, argv)


if __name__ == "__main__":
    sys.exit(main())
