"""What the command line starts of the server: an extra that need not be installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from librarian.errors import Refused


def need(module: str, what: str) -> None:
    if find_spec(module) is None:
        raise Refused(
            f"{what} needs the server, which is not installed here",
            remedy="pip install 'librarian[server,embedded]'",
        )


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replaces this process, so that signals and exit codes are the server's own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module
