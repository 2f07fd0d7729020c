"""The settings of each process of a site on one machine, made anew at each start."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from standalone.errors import InvalidSiteFile, PortTaken, SiteHasName
from standalone.home import Home
from standalone.ports import LOOPBACK, Ports
from standalone.toml import Table, dump_toml, merge
from svckit.clock import Clock, SystemClock

DEFAULT_PORT = 52750
SITE_FILE_COMMENT = """\
This site's own settings. Change and add what you like (every key of the services' settings is allowed)
but the services' addresses, keys and the database, worked out at each start: see run/*.toml."""


@dataclass(frozen=True, slots=True)
class Service:
    """A process of the site: which module runs it, and in whose part of the database."""

    name: str
    module: str
    schema: str
    # The worker serves no calls; it has the metrics page alone.
    serves_rpc: bool = True


# In the order in which they are stopped: who uses comes before who is used.
SERVICES = (
    Service("gateway", "gateway.__main__", "gateway"),
    Service("worker", "transfer_svc.workers.__main__", "transfer", serves_rpc=False),
    Service("transfer", "transfer_svc.__main__", "transfer"),
    Service("store", "store_svc.__main__", "store"),
    Service("catalog", "catalog_svc.__main__", "catalog"),
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the services are reached in this run, on ports that are held for it."""

    run: Path
    gateway_port: int
    data_port: int
    ports: Ports

    def listen(self, service: str) -> str:
        if service == "gateway":
            return f"{LOOPBACK}:{self.gateway_port}"
        return f"unix:{self.run}/{service}.sock"

    def metrics(self, service: str) -> str:
        return f"unix:{self.run}/{service}-metrics.sock"

    @property
    def address(self) -> str:
        return f"grpc://{LOOPBACK}:{self.gateway_port}"


def site_name(home: Home, wanted: str) -> str:
    """The name in site.toml, which is made with `wanted`, or the host's name, at the first start."""
    if not home.site_file.exists():
        name = wanted or _host_name()
        home.site_file.write_text(dump_toml({"site": {"name": name}}, comment=SITE_FILE_COMMENT))
        return name
    site = read_site_file(home).get("site")
    name = str(site.get("name", "")) if isinstance(site, Mapping) else ""
    if not name:
        raise InvalidSiteFile(
            f"{home.site_file} has no site.name", remedy='add the lines [site] and name = "..." to it'
        )
    if wanted and wanted != name:
        raise SiteHasName(f"the site in {home.root} is called {name}, not {wanted}", name=name)
    return name


def read_site_file(home: Home) -> Table:
    try:
        return tomllib.loads(home.site_file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InvalidSiteFile(
            f"{home.site_file}: {error}", remedy="mend that line, or remove the file"
        ) from error


def choose_places(home: Home, *, port: int | None) -> Places:
    """The port asked for, else the one of the last run, else the usual one, else any."""
    ports = Ports()
    last = _last_port(home)
    if port:
        if not ports.hold(port, patient=port == last):
            raise PortTaken(f"something listens on port {port} already", port=port)
        gateway_port = port
    else:
        candidates = [] if port == 0 else [last, DEFAULT_PORT]
        free = (number for number in candidates if number and ports.hold(number, patient=number == last))
        gateway_port = next(free, 0) or ports.hold_any()
    return Places(run=home.run, gateway_port=gateway_port, data_port=ports.hold_any(), ports=ports)


def write_settings(home: Home, name: str, places: Places, dsns: Mapping[str, str]) -> dict[str, Path]:
    """One file a service: each holds the database login of that service alone."""
    own = read_site_file(home)
    files = {}
    for service in SERVICES:
        settings = merge(merge(_defaults(places), own), _worked_out(home, name, places))
        settings = merge(settings, {service.schema: {"dsn": dsns[service.name]}})
        path = home.run / f"{service.name}.toml"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(dump_toml(settings, comment=f"Made at each start; change {home.site_file} instead."))
        files[service.name] = path
    return files


def clock_of(home: Home) -> Clock:
    """The one that this site's services go by. A value that is none is theirs to refuse, by its key."""
    faults = read_site_file(home).get("faults", {})
    ahead = faults.get("clock_offset_seconds", 0) if isinstance(faults, dict) else 0
    return SystemClock(timedelta(seconds=ahead if isinstance(ahead, int | float) else 0))


def _defaults(places: Places) -> Table:
    """What suits one machine unless site.toml says otherwise."""
    door = f"{LOOPBACK}:{places.data_port}"
    threads = min(os.cpu_count() or 1, 256)
    return {
        "store": {"hash_threads": threads, "data_listen": door, "data_address": door},
        # Other sites on this machine; a site.toml that says more lets the rest of the world in.
        "gateway": {"public_address": places.address},
    }


def _worked_out(home: Home, name: str, places: Places) -> Table:
    return {
        "site": {"name": name},
        "auth": {"keys_dir": str(home.keys), "site_key_file": str(home.keys / "site.key")},
        "catalog": {"listen": places.listen("catalog"), "metrics_listen": places.metrics("catalog")},
        "store": {
            "listen": places.listen("store"),
            "metrics_listen": places.metrics("store"),
        },
        "transfer": {"listen": places.listen("transfer"), "metrics_listen": places.metrics("transfer")},
        "worker": {"metrics_listen": places.metrics("worker"), "docks": ["/"]},
        "gateway": {
            "listen": places.listen("gateway"),
            "metrics_listen": places.metrics("gateway"),
            "admin_token_file": str(home.admin_token_file),
        },
        "services": {
            "catalog": places.listen("catalog"),
            "transfer": places.listen("transfer"),
            "stores": {"store": places.listen("store")},
        },
    }


def _host_name() -> str:
    letters = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().split(".")[0].lower())
    return letters.strip("-_")[:63] or "site"


def _last_port(home: Home) -> int:
    """0 when there was no run."""
    if not home.context_file.exists():
        return 0
    port = home.context_file.read_text().rpartition(f"{LOOPBACK}:")[2].partition('"')[0]
    return int(port) if port.isdecimal() else 0
