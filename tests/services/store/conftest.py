"""The lab, for every test here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_lab import Lab, a_lab
from store_lab.served import Served, served


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
async def site(database_dsn: str) -> AsyncIterator[Served]:
    """The service behind its doors, with a store `main`. Its folder's path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="lib-st-", dir="/tmp") as name:
        async with served(database_dsn, Path(name)) as found:
            await found.add_store()
            yield found
