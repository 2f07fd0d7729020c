"""Librarian moves precious research data from where it is made to where it is used.

from librarian import Librarian              # asyncio
from librarian.blocking import Librarian     # the same, for plain code

Importing this costs nothing: gRPC is loaded when the first name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from librarian.checksums import Checksum as Checksum
    from librarian.client import Librarian as Librarian
    from librarian.client.datasets import Order as Order
    from librarian.errors import LibrarianError as LibrarianError
    from librarian.fetch.session import GetResult as GetResult
    from librarian.ingest.items import PutItem as PutItem
    from librarian.ingest.items import PutOutcome as PutOutcome
    from librarian.ingest.items import PutResult as PutResult
    from librarian.progress import Progress as Progress

_PLACES = {
    "Checksum": "librarian.checksums",
    "GetResult": "librarian.fetch.session",
    "Librarian": "librarian.client",
    "LibrarianError": "librarian.errors",
    "Order": "librarian.client.datasets",
    "Progress": "librarian.progress",
    "PutItem": "librarian.ingest.items",
    "PutOutcome": "librarian.ingest.items",
    "PutResult": "librarian.ingest.items",
}

__all__ = [
    "Checksum",
    "GetResult",
    "Librarian",
    "LibrarianError",
    "Order",
    "Progress",
    "PutItem",
    "PutOutcome",
    "PutResult",
]


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'librarian' has no attribute {name!r}")
    return getattr(import_module(place), name)


def __dir__() -> list[str]:
    return sorted(_PLACES)
