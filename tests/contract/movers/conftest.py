"""The movers' lab: a store service with two stores, of which one is the sender's and one the receiver's."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "store"))

from mover_lab import MoverLab, a_mover_lab


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: the store syncs all the time. Short enough for sockets."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="lib-mv-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
async def lab(way: str, database_dsn: str, tmp_path: Path) -> AsyncIterator[MoverLab]:
    async with a_mover_lab(way, database_dsn, tmp_path) as found:
        yield found
