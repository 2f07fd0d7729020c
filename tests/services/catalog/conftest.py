"""A live catalog on a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.catalog_site import Catalog, running


@pytest.fixture
async def catalog(database_dsn: str, tmp_path: Path) -> AsyncIterator[Catalog]:
    async with running(database_dsn, tmp_path) as found:
        yield found
