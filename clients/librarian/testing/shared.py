"""One test's view of a site that other tests use too."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from librarian.testing.site import Site

if TYPE_CHECKING:
    from librarian import Librarian
    from librarian.blocking import Librarian as BlockingLibrarian


class SharedSite:
    """As Site, without what would disturb the others: it can be neither stopped nor killed."""

    def __init__(self, site: Site, test: str) -> None:
        self._site = site
        # Readable in listings, and no other test's even when this one runs twice.
        self.prefix = f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', test)[:80]}-{secrets.token_hex(4)}/"

    def new_name(self, name: str) -> str:
        """A dataset's name below this test's own prefix."""
        return self.prefix + name

    @property
    def home(self) -> Path:
        return self._site.home

    @property
    def address(self) -> str:
        return self._site.address

    @property
    def token(self) -> str:
        return self._site.token

    @property
    def store_root(self) -> Path:
        return self._site.store_root

    @property
    def environment(self) -> dict[str, str]:
        return self._site.environment

    def client(self) -> Librarian:
        return self._site.client()

    def blocking_client(self) -> BlockingLibrarian:
        return self._site.blocking_client()

    def cli(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._site.cli(*arguments, check=check)

    def log(self, process: str) -> str:
        return self._site.log(process)
