"""`python -m store_svc --config FILE.toml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from store_svc.app import build
from svckit.server import main as serve


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; see svckit.server.main."""
    return serve("store", build, argv)


if __name__ == "__main__":
    sys.exit(main())
