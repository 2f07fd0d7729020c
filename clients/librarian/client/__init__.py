"""The asyncio client: one class, put together of what it can do."""

from __future__ import annotations

from librarian.client.bytes import BytesClient
from librarian.client.datasets import DatasetsClient
from librarian.client.peers import PeersClient
from librarian.client.routes import RoutesClient
from librarian.client.site import SiteClient
from librarian.client.stores import StoresClient
from librarian.client.transfers import TransfersClient
from librarian.client.upkeep import UpkeepClient

__all__ = ["Librarian"]


class Librarian(
    BytesClient,
    UpkeepClient,
    TransfersClient,
    RoutesClient,
    PeersClient,
    DatasetsClient,
    StoresClient,
    SiteClient,
):
    """A site, as its people use it.

    async with Librarian.connect() as lib:
        await lib.put("obs/1718574200_satp3_1111111", "satp3/obs/1718574200_satp3_1111111")

    Every call raises the classes of `librarian.errors`. What it answers are the protos' own messages where
    there is one. `librarian.blocking.Librarian` is the same for plain code.
    """
