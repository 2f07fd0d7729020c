from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data import make_book

from librarian.blocking import Librarian
from librarian.testing.shared import SharedSite


@pytest.fixture(autouse=True)
def _own_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a put has begun is not to be found by another test, nor in the developer's home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def book(tmp_path: Path, rng: random.Random) -> Path:
    return make_book(tmp_path / "book", rng)


@pytest.fixture
def librarian(librarian_site: SharedSite) -> Iterator[Librarian]:
    with librarian_site.blocking_client() as librarian:
        yield librarian
