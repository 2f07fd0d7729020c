"""A gateway with one store service, or two."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.gateway_site import GatewaySite, gateway_site


@pytest.fixture
async def site(database_dsn: str) -> AsyncIterator[GatewaySite]:
    async with gateway_site(database_dsn) as running:
        yield running


@pytest.fixture
async def two_stores(database_dsn: str) -> AsyncIterator[GatewaySite]:
    async with gateway_site(database_dsn, stores=("fast", "slow")) as running:
        yield running
