"""Where a client finds its site. The first found wins:

1. `--site NAME`, LIBRARIAN_SITE, or `site=`: the named connection `~/.config/librarian/NAME.toml`
2. LIBRARIAN_ADDRESS with LIBRARIAN_TOKEN
3. LIBRARIAN_HOME: the home of a site on this machine, as `librarian up` leaves it
4. `~/.librarian`, the same
5. the only named connection, or the one called `default`

LIBRARIAN_TOKEN alone replaces the token of a home. A named connection is a TOML file with `address`,
`token` or `token_file` (relative to the file), and where needed `insecure = true` and `ca_file`.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from librarian.connection.address import Address, parse_address
from librarian.errors import InvalidConfig, NotFound, TokenMissing, Unavailable

# What `librarian up` leaves in its home for clients on the same machine: a JSON object with `address`
# and `token_file`, an absolute path or one relative to the home.
CONTEXT_FILE = "context.json"

KNOWN_KEYS = frozenset({"address", "token", "token_file", "insecure", "ca_file"})


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """An address, a token, and `source`: where they were found, for people. `is_home`: of a site that was
    started on this machine.
    """

    address: Address
    token: str
    source: str
    ca_file: Path | None = None
    is_home: bool = False

    def __repr__(self) -> str:
        return f"ConnectionSettings({self.address.text}, from {self.source})"


def find_connection(
    *, site: str = "", environ: Mapping[str, str] | None = None, user_home: Path | None = None
) -> ConnectionSettings:
    """Raises NotFound for a site nobody named, Unavailable where there is nothing to connect to."""
    environ = os.environ if environ is None else environ
    user_home = Path.home() if user_home is None else user_home
    directory = Path(environ.get("XDG_CONFIG_HOME") or user_home / ".config") / "librarian"
    site = site or environ.get("LIBRARIAN_SITE", "")
    if site:
        return _named(directory, site)
    if address := environ.get("LIBRARIAN_ADDRESS", ""):
        return ConnectionSettings(
            address=parse_address(address),
            token=_given(environ.get("LIBRARIAN_TOKEN", "").strip(), "LIBRARIAN_TOKEN"),
            source="LIBRARIAN_ADDRESS",
        )
    token = environ.get("LIBRARIAN_TOKEN", "").strip()
    if home := environ.get("LIBRARIAN_HOME", ""):
        return _of_home(Path(home).expanduser(), token, source=f"LIBRARIAN_HOME={home}")
    if (user_home / ".librarian" / CONTEXT_FILE).exists():
        return _of_home(user_home / ".librarian", token, source="~/.librarian")
    return _named(directory, _only_name(directory))


def named_sites(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.toml"))


def _of_home(home: Path, token: str, *, source: str) -> ConnectionSettings:
    path = home / CONTEXT_FILE
    try:
        context = json.loads(path.read_text())
        address, token_file = str(context["address"]), str(context["token_file"])
    except FileNotFoundError:
        raise Unavailable(
            f"no site was started in {home}",
            remedy=f"start it with `librarian up --home {home}`",
            home=home,
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(
            f"{path} is not what a site leaves behind: {error!r}",
            remedy=f"start the site again: `librarian up --home {home}`",
            path=path,
        ) from None
    return ConnectionSettings(
        address=parse_address(address, insecure=True),
        token=token or _read_token(home / token_file),
        source=source,
        is_home=True,
    )


def _only_name(directory: Path) -> str:
    names = named_sites(directory)
    if "default" in names:
        return "default"
    if len(names) == 1:
        return names[0]
    if names:
        raise Unavailable(
            f"there is more than one named connection: {', '.join(names)}",
            remedy="say which one with --site NAME",
        )
    raise Unavailable(
        "there is no site to talk to",
        remedy="start one with `librarian up`, or set LIBRARIAN_ADDRESS and LIBRARIAN_TOKEN, "
        f"or write a named connection into {directory}",
    )


def _named(directory: Path, name: str) -> ConnectionSettings:
    path = directory / f"{name}.toml"
    if "/" in name or not path.is_file():
        known = ", ".join(named_sites(directory)) or "none"
        raise NotFound(
            f"no connection is named {name}",
            remedy=f"write {directory}/{name}.toml with `address` and `token`; there now: {known}",
            site=name,
        )
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path}: {error}", remedy="correct the file", path=path) from None
    for key in values.keys() - KNOWN_KEYS:
        raise InvalidConfig(
            f"{path}: unknown key {key}", remedy=f"known are {', '.join(sorted(KNOWN_KEYS))}", path=path
        )
    if not isinstance(values.get("address"), str):
        raise InvalidConfig(
            f"{path}: `address` is missing", remedy='address = "grpcs://host:port"', path=path
        )
    token = str(values.get("token", "")).strip()
    if not token and (token_file := str(values.get("token_file", ""))):
        token = _read_token(directory / Path(token_file).expanduser())
    ca_file = str(values.get("ca_file", ""))
    return ConnectionSettings(
        address=parse_address(values["address"], insecure=values.get("insecure") is True),
        token=_given(token, f"`token` in {path}"),
        source=str(path),
        ca_file=directory / Path(ca_file).expanduser() if ca_file else None,
    )


def _read_token(path: Path) -> str:
    try:
        return _given(path.read_text().strip(), str(path))
    except FileNotFoundError:
        raise TokenMissing(f"there is no token in {path}", path=path) from None
    except PermissionError:
        raise TokenMissing(
            f"{path} may only be read by the user who started the site",
            remedy="ask the site's admin for a token of your own and set LIBRARIAN_TOKEN",
            path=path,
        ) from None


def _given(token: str, place: str) -> str:
    if not token:
        raise TokenMissing(f"{place} is empty or not set")
    return token
