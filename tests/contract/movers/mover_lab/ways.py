"""The movers under test, and what each needs around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mover_lab.rsyncd import rsync_daemon

WAYS = ("posix", "stream", "stream-unseen", "rsync")


@dataclass
class Way:
    """`mover`: what routes call it. `rsync_root`: of the store where things land. `fields`: of the stores,
    by name.
    """

    name: str
    mover: str
    rsync_root: str = ""
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fields_of(self, store: str) -> dict[str, Any]:
        return self.fields.get(store, {})

    def link_of(self, peer: str) -> NoReturn:
        raise AssertionError(f"there is no peer {peer} here")


@asynccontextmanager
async def way_of(name: str, directory: Path) -> AsyncIterator[Way]:
    if name == "stream-unseen":
        # Where hosts of the mover's kind would see the store, there is nothing.
        yield Way(name, "stream", fields={"here": {"client_root": str(directory / "not mounted")}})
    elif name == "rsync":
        async with rsync_daemon(directory, directory) as module:
            yield Way(name, "rsync", rsync_root=f"{module}/away")
    else:
        yield Way(name, name)
