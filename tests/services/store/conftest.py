"""The lab, for every test here."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_lab import Lab, a_lab
from store_lab.served import Served, served


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: these tests sync hundreds of times. Short enough for sockets."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="lib-st-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
async def lab(database_dsn: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """With a store `main` at <tmp>/root."""
    async with a_lab(database_dsn, tmp_path / "root") as found:
        await found.add()
        yield found


@pytest.fixture
def labs(database_dsn: str, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Lab]]:
    """Makes labs with options of `a_lab`; without a store."""

    def make(**options: Any) -> AbstractAsyncContextManager[Lab]:
        return a_lab(database_dsn, tmp_path / "root", **options)

    return make


@pytest.fixture
async def site(database_dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    """The service behind its doors, with a store `main`."""
    async with served(database_dsn, tmp_path) as found:
        await found.add_store()
        yield found
