"""The movers' lab: a store service for each way to move, and for each test two stores of its own: one is
the sender's and one the receiver's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "store"))

from mover_lab import Ground, MoverLab, a_ground
from mover_lab.ways import WAYS
from support.postgres import PostgresServer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is such a place: the store syncs all the time. Short enough for sockets."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("movers")
        return
    with tempfile.TemporaryDirectory(prefix="lib-mv-", dir=memory) as folder:
        yield Path(folder)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(way, marks=pytest.mark.xdist_group(f"mover {way}")) for way in WAYS],
)
async def ground(
    request: pytest.FixtureRequest, postgres: PostgresServer, directory: Path
) -> AsyncIterator[Ground]:
    folder = directory / request.param
    folder.mkdir()
    with postgres.fresh_database() as dsn:
        async with a_ground(request.param, dsn, folder) as found:
            yield found


@pytest_asyncio.fixture(loop_scope="module")
async def lab(ground: Ground) -> MoverLab:
    return await ground.lab()
