"""The movers under test, and what each needs around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.testing.link import Link
from mover_lab.rsyncd import rsync_daemon
from svckit.channels import Pairs
from svckit.peerlink import PeerAddress, PeerLink, SiteSigner

# `stream`: what this process sees, to a peer; `stream-unseen`: what it does not see, within this site.
WAYS = ("posix", "stream", "stream-unseen", "rsync")


class DoorLink(PeerLink):
    """A link that ends at a store's data door, where the ticket is enough: no gateway, so no session."""

    async def metadata(self) -> Pairs:
        return ()


@dataclass
class Way:
    """`mover`: what routes call it. `rsync_root`: of the folder of the stores. `wire`: what the link goes
    by.
    """

    name: str
    mover: str
    peer: str = ""
    rsync_root: str = ""
    unseen: bool = False
    link: PeerLink | None = None
    wire: Link | None = None

    def fields_of(self, store: str) -> dict[str, Any]:
        # Where hosts of the mover's kind would see the store, there is nothing.
        return {"client_root": "/not/mounted"} if self.unseen and store.startswith("here") else {}

    def link_of(self, peer: str) -> PeerLink:
        assert peer == self.peer
        assert self.link is not None, "a way with a peer has a link"
        return self.link


@asynccontextmanager
async def way_of(name: str, directory: Path, door: str) -> AsyncIterator[Way]:
    if name == "stream-unseen":
        yield Way(name, "stream", unseen=True)
    elif name == "stream":
        with Link() as wire:
            wire.lead_to(door)
            signer = SiteSigner("a", Ed25519PrivateKey.generate())
            link = DoorLink(PeerAddress("b", f"grpc://{wire.address}"), signer)
            try:
                yield Way(name, "stream", peer="b", link=link, wire=wire)
            finally:
                await link.close()
    elif name == "rsync":
        async with rsync_daemon(directory, directory) as module:
            yield Way(name, "rsync", rsync_root=module)
    else:
        yield Way(name, name)
