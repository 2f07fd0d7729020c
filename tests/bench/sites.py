"""A live site to measure, and the ways into it: by the gateway as clients come, or straight to a service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from librarian.api.store.v1 import store_pb2
from librarian.testing.site import Site
from svckit.auth import Signer
from svckit.channels import ServiceChannels
from svckit.settings import Settings, load_settings
from tests.bench.data import remove

SERVICES = ("catalog", "store", "transfer", "worker", "gateway")
# A store whose root clients do not see: bytes for it can only stream.
STREAMED = "streamed"


@dataclass(frozen=True, slots=True)
class BenchSite:
    site: Site
    streamed_root: Path

    def config(self, service: str) -> Path:
        return self.site.home / "run" / f"{service}.toml"

    def settings(self, service: str) -> Settings:
        return load_settings(["--config", str(self.config(service))])

    def channels(self) -> ServiceChannels:
        """Straight to the services, in the name of the transfer service. For an event loop."""
        settings = self.settings("transfer")
        return ServiceChannels(settings, Signer.load(Path(settings.auth.keys_dir), "transfer"))

    def pids(self) -> dict[str, int]:
        return {service: self.site.pid_of(service) for service in SERVICES}

    def forget_bytes(self, name: str) -> None:
        """Gives the room of a dataset back behind the site's back: it is not looked at again."""
        for root in (self.site.store_root, self.streamed_root):
            if (root / name).exists():
                remove(root / name)


@contextmanager
def running_site(home: Path) -> Iterator[BenchSite]:
    """Durable: its PostgreSQL keeps its promises too."""
    site = Site(home, name="bench", durable=True)
    site.start()
    try:
        streamed_root = home.with_name(f"{home.name}-{STREAMED}")
        streamed_root.mkdir()
        store = store_pb2.Store(
            name=STREAMED,
            root=str(streamed_root),
            store_class=store_pb2.STORE_CLASS_ONLINE,
            failure_domain="bench",
            enabled=True,
            ingestible=True,
            priority=1000,
            client_root="/nowhere/to/be/seen",
        )
        with site.blocking_client() as client:
            client.add_store(store)
        yield BenchSite(site, streamed_root)
    finally:
        site.stop()
        shutil.rmtree(home / "run", ignore_errors=True)


@contextmanager
def closed_data_door() -> Iterator[None]:
    """As if a firewall stood before the stores' data doors: bytes stream through the gateway."""

    async def unreachable(*_: object) -> bool:
        return False

    with patch("librarian.connection.doors.reachable", unreachable):
        yield
