"""Other sites as the gateway knows them: their keys, when they may call, and how the link is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from librarian.connection.address import is_loopback, parse_address
from librarian.errors import InvalidInput, PeerKeyUnknown, PeerPaused
from svckit.auth import Caller, Role

_MAX_ADDRESS = 300
_SITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class LinkState(Enum):
    UP = "up"
    DOWN = "down"
    PAUSED = "paused"
    # It has no address: it calls us.
    INBOUND = "inbound"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class PeerKey:
    """`expire_time`: until when it opens sessions, after a rotation; None without one."""

    key_id: str
    public_key: Ed25519PublicKey
    pin_time: datetime
    expire_time: datetime | None = None

    def opens_sessions(self, now: datetime) -> bool:
        return self.expire_time is None or now < self.expire_time


@dataclass(frozen=True, slots=True)
class Link:
    """How the last call to a peer ended. `up` None: there was none yet. `offset_ms`: its clock less ours."""

    up: bool | None = None
    reason: str = ""
    since: datetime | None = None
    heard: datetime | None = None
    reached: datetime | None = None
    offset_ms: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """`record_id` is for life. `peer_id` is what its calls and tickets are known by; ending it, as a pause
    does, ends those for good, so a peer that resumes has another. `told_address`: the last it told itself.
    """

    record_id: str
    peer_id: str
    name: str
    address: str
    insecure: bool
    told_address: str
    paused: bool
    join_time: datetime
    remove_time: datetime | None = None
    keys: Mapping[str, PeerKey] = field(default_factory=dict)
    link: Link = field(default_factory=Link)

    @property
    def caller(self) -> Caller:
        return Caller(self.name, Role.PEER, token_id=self.peer_id)

    def session_key(self, key_id: str, now: datetime) -> Ed25519PublicKey:
        """Raises PeerKeyUnknown."""
        key = self.keys.get(key_id)
        if key is None:
            raise PeerKeyUnknown(f"{key_id} is no key of {self.name} that this site knows")
        if not key.opens_sessions(now):
            raise PeerKeyUnknown(f"the key {key_id} of {self.name} was replaced, and its time is over")
        return key.public_key

    def session_keys(self, now: datetime) -> dict[str, Ed25519PublicKey]:
        return {key.key_id: key.public_key for key in self.keys.values() if key.opens_sessions(now)}

    def check_running(self, own_site: str) -> None:
        """Raises PeerPaused."""
        if self.paused:
            raise paused_here(self.name, own_site)

    @property
    def link_state(self) -> LinkState:
        if self.remove_time is not None:
            return LinkState.REMOVED
        if self.paused:
            return LinkState.PAUSED
        if not self.address:
            return LinkState.INBOUND
        return LinkState.UP if self.link.up else LinkState.DOWN


def paused_here(name: str, own_site: str) -> PeerPaused:
    return PeerPaused(
        f"{own_site} has paused {name}", remedy=f"`librarian peer resume {name}` at {own_site} goes on"
    )


def latest_by_name(records: Iterable[Peer]) -> list[Peer]:
    """One of each name, by name: the live one, else the one removed last, with the keys of all that had the
    name, for what a former key signed stays signed. `records`: in the order of their joining.
    """
    found: dict[str, Peer] = {}
    for peer in records:
        earlier = found.get(peer.name)
        keys = {**earlier.keys, **peer.keys} if earlier is not None else peer.keys
        found[peer.name] = replace(peer, keys=keys)
    return [found[name] for name in sorted(found)]


def check_site_name(name: str, *, own_site: str) -> str:
    """Raises InvalidInput: no name of a site, or our own."""
    if _SITE_NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{name[:80]!r} is no name of a site",
            remedy="give the name that `librarian status` shows there (its setting site.name)",
            field="name",
        )
    if name == own_site:
        raise InvalidInput(f"{name} is the name of this site", field="name")
    return name


def checked_address(address: str, *, insecure: bool) -> str:
    """`address` with its scheme; "" stays. Raises InvalidInput: none, or plain beyond loopback while it may
    not be.
    """
    if len(address) > _MAX_ADDRESS:
        raise InvalidInput(f"the address is longer than {_MAX_ADDRESS} characters", field="address")
    return parse_address(address, insecure=insecure).text if address else ""


def is_plain_beyond(address: str) -> bool:
    """Whether it is in the clear and leaves this machine. `address`: with its scheme."""
    return address.startswith("grpc://") and not _is_local(address)


def told_to(own_address: str, other_address: str) -> str:
    """Our address as a peer may use it: one on loopback means nothing to a site that is elsewhere."""
    return "" if _is_local(own_address) and not _is_local(other_address) else own_address


def _is_local(address: str) -> bool:
    return is_loopback(address.partition("://")[2].rpartition(":")[0])
