"""The rig, for every test here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from transfer_lab.rig import Rig, open_rig
from transfer_lab.store import Space


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="lib-tr-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
async def rig(directory: Path, database_dsn: str) -> AsyncIterator[Rig]:
    """One store service with two stores, `fast` before `slow`."""
    spaces = {"disks": [Space("fast", priority=1), Space("slow", priority=2)]}
    async with open_rig(directory, database_dsn, spaces) as opened:
        yield opened
