"""Sites that know one another, and the wires between them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.errors import Unavailable
from librarian.testing.link import Link
from librarian.testing.site import Site, remove_home, temporary_home
from support.eventually import eventually_blocking

# Quick to notice what happens at the other end; leases short enough to outlive a kill.
QUICK = """
[worker]
lease_seconds = 2.0
poll_seconds = 0.5
"""


class Sites:
    """Started one by one; `wires` has for each site the link its gateway is reached by from the others."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.wires: dict[str, Link] = {}
        self._sites: dict[str, Site] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Site:
        return self._sites[name]

    def start(self, name: str, *, settings: str = QUICK, bits_per_second: int = 0) -> Site:
        wire = self._stack.enter_context(Link(bits_per_second))
        home = temporary_home()
        self._stack.callback(remove_home, home)
        public = f'[gateway]\npublic_address = "grpc://{wire.address}"\n'
        site = Site(home, name=name, settings=settings.replace("{home}", str(home)) + public)
        self._stack.callback(site.stop)
        self.wires[name], self._sites[name] = wire, site
        self.up(name)
        return site

    def up(self, name: str) -> None:
        """Starts it (again), at the end of its wire."""
        site = self._sites[name]
        if not site.running():
            site.start()
        self.wires[name].lead_to(site.address)

    def pair(self, sender: str, receiver: str) -> None:
        """As two operators do it."""
        code = cli(self[receiver], "peer", "invite", sender)["code"]
        cli(self[sender], "peer", "join", code)


def cli(site: Site, *arguments: object) -> Any:
    """What `librarian … --json` prints."""
    return json.loads(site.cli(*map(str, arguments), "--json").stdout or "null")


def add_route(site: Site, to: str, match: str, *more: object, via: str = "stream") -> dict[str, Any]:
    route: dict[str, Any] = cli(site, "route", "add", "--to", to, "--match", match, "--via", via, *more)
    return route


def receipts(librarian: Librarian, name: str) -> set[str]:
    """The sites that have receipted this dataset, as this one knows; none while its gateway is away."""
    try:
        return {replica.site for replica in librarian.show(name).remote_replicas}
    except Unavailable:
        return set()


def until_receipted(
    librarian: Librarian, name: str, *sites: str, timeout: float = 60.0
) -> catalog_pb2.Dataset:
    eventually_blocking(
        lambda: receipts(librarian, name) >= set(sites), timeout=timeout, what=f"{name} receipted by {sites}"
    )
    return librarian.show(name)


def transfers(librarian: Librarian, name_glob: str) -> list[transfer_pb2.Transfer]:
    return list(librarian.transfers(name_glob=name_glob))


def states(librarian: Librarian, name_glob: str) -> dict[str, str]:
    """{name: state} of transfers to the one destination there is."""
    return {each.name: state_name(each.state) for each in transfers(librarian, name_glob)}


def state_name(state: transfer_pb2.TransferState.ValueType) -> str:
    return transfer_pb2.TransferState.Name(state).removeprefix("TRANSFER_STATE_")


def deliveries(librarian: Librarian, name: str) -> list[str]:
    """States of what other sites brought or bring under this name, newest first."""
    return [
        federation_pb2.DeliveryState.Name(each.delivery.state).removeprefix("DELIVERY_STATE_")
        for each in librarian.deliveries()
        if each.name == name
    ]
