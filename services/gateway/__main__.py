"""`python -m gateway --config FILE.toml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.app import build
from librarian.kernel import keep_freed_memory
from svckit.server import main as serve


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; see svckit.server.main."""
    keep_freed_memory()
    return serve("gateway", build, argv)


if __name__ == "__main__":
    sys.exit(main())
