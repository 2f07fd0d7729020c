from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.client_site import ClientSite

from librarian import Librarian
from librarian.connection import patience


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals of tests stay with the tests, and waits are short."""
    home = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.setattr(patience.Patience, "__init__", _hasty(patience.Patience.__init__))
    return home


def _hasty(init: object) -> object:
    def hasty(self: patience.Patience, seconds: float) -> None:
        init(self, seconds, first_seconds=0.01, longest_seconds=0.02)  # type: ignore[operator]

    return hasty


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ClientSite]:
    async with ClientSite(tmp_path / "site") as site:
        yield site


@pytest.fixture
async def client(site: ClientSite) -> AsyncIterator[Librarian]:
    async with site.client() as client:
        yield client
