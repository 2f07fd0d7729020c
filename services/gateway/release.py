"""Which release of Librarian this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def site_version() -> str:
    return version("librarian")
